"""Find what is wrong with a dataset in COCO's format, mend it, and say what is in it.

    semiconv check annotations/train.json images
    semiconv check bbbc010_train --config-file configs/bbbc010_semiconv.yaml
    semiconv check --config-file configs/own_semiconv.yaml \\
        --opts OWN_DATA.TRAIN_JSON train.json OWN_DATA.TRAIN_IMAGES images

The dataset is a JSON with its folder of images, or a registered name. Without a dataset, those of
the config are checked. With a config, the numbers also show how its detector sees the instances.
The last line says whether training starts with the data, and with the config. The exit status is 1
if the data have errors; with --fix, if errors are left.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from functools import partial
from itertools import chain, count
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..data.coco.checking import find_defects
from ..data.coco.checking_annotations import can_find_crossings
from ..data.coco.checking_whole import check_fit, check_pieces, keep_crowds
from ..data.coco.coco_json import check_replaceable, read_coco
from ..data.coco.defects import errors_of, format_defects
from ..data.coco.describing import SAMPLE, DetectorScale, describe, format_statistics
from ..data.coco.fixing import fix, fixed_path, write_fixed
from ..data.coco.segmentations import decode_mask
from ..data.images import write_image
from ..data.pixels import Reading, read_rgb
from ..errors import DatasetError, UserError
from ..visualization.masks import instance_colours
from ..visualization.samples import draw_sample
from ..writing import write_json, write_text
from .commands import finish, parser_of, say

CROWD = (0.55, 0.55, 0.55)
_NAMED = 20  # at most so many dropped things are listed


class Dataset(NamedTuple):
    name: str
    """Name of the folder of its report, if there are several datasets."""
    json_file: Path
    image_root: Path


def parse_arguments(argv):
    parser = parser_of("check", __doc__)
    parser.add_argument("dataset", nargs="?", help="JSON in COCO's format or registered dataset")
    parser.add_argument("images", nargs="?", type=Path, help="folder of the images of a JSON")
    parser.add_argument("--config-file", help="config of the detector to train on the data")
    parser.add_argument(
        "--fix", action="store_true", help="write a mended copy beside the JSON, NAME_fixed.json"
    )
    parser.add_argument(
        "--keep-crowds",
        action="store_true",
        help="crowd regions (iscrowd 1) are intended; with --fix the copy notes this",
    )
    parser.add_argument(
        "--no-images",
        action="store_true",
        help="faster: read only the headers of images",
    )
    parser.add_argument(
        "--all",
        action="store_true",
        help=f"measure the masks of all images, not of {SAMPLE} at random",
    )
    parser.add_argument(
        "--output", type=Path, help="folder to write all defects, the table and pictures to"
    )
    parser.add_argument(
        "--pictures", type=int, default=0, metavar="N", help="draw N random images with their masks"
    )
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], help="KEY VALUE …, last")
    arguments = parser.parse_args(argv)
    if arguments.dataset is None and arguments.config_file is None:
        parser.error("give JSON IMAGES, a registered dataset or --config-file")
    if arguments.pictures and arguments.output is None:
        parser.error("--pictures needs --output FOLDER")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    return finish(lambda: check_all(arguments))


def check_all(arguments):
    cfg = read_config(arguments)
    datasets = find_datasets(arguments, cfg)
    scale = None if cfg is None else read_scale(cfg)
    reading = Reading() if cfg is None else Reading.of(cfg.INPUT)
    several = len(datasets) > 1
    sound = [check(dataset, scale, reading, arguments, several) for dataset in datasets]
    if cfg is not None:
        tell_config(cfg)
    return 0 if all(sound) else 1


def tell_config(cfg):
    """Prints what else keeps a training with the config from starting, if there is anything."""
    from ..training.checks import TRAINING, check_config

    try:
        check_config(cfg, TRAINING)
    except UserError as error:
        say(f"with this config training does not start yet: {error}\n")


def read_config(arguments):
    if not arguments.config_file:
        return None
    from ..training import load_config, register_own_data

    cfg = load_config(arguments.config_file, arguments.opts)
    register_own_data(cfg)
    return cfg


def find_datasets(arguments, cfg):
    if arguments.images is not None:
        path = Path(arguments.dataset)
        return [Dataset(path.stem, path, arguments.images)]
    from detectron2.data import DatasetCatalog, MetadataCatalog

    names = [arguments.dataset] if arguments.dataset else [*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST]
    if not names:
        raise DatasetError(
            "the config names no dataset: give OWN_DATA.TRAIN_JSON and OWN_DATA.TRAIN_IMAGES after "
            "--opts, or JSON IMAGES"
        )
    datasets = []
    for name in dict.fromkeys(names):
        if name not in DatasetCatalog:
            hint = ": give its folder of images, too" if Path(name).is_file() else ""
            raise DatasetError(f"no dataset is registered as {name}{hint}")
        metadata = MetadataCatalog.get(name)
        if not metadata.get("json_file"):
            raise DatasetError(f"the dataset {name} is not in COCO's format")
        json_file = Path(metadata.json_file)
        if not json_file.is_file():
            DatasetCatalog.get(name)  # says how to prepare it
        datasets.append(Dataset(Path(name).stem, json_file, Path(metadata.image_root)))
    return tell_apart(datasets)


def tell_apart(datasets):
    """Makes names unique: with the name of the JSON's folder in front, then with numbers."""
    frequency = Counter(dataset.name for dataset in datasets)
    told = {}
    for dataset in datasets:
        name = dataset.name
        if frequency[name] > 1:
            name = f"{dataset.json_file.absolute().parent.name}_{name}"
        name = next(n for n in chain([name], (f"{name}_{k}" for k in count(2))) if n not in told)
        told[name] = dataset._replace(name=name)
    return list(told.values())


def read_scale(cfg):
    """The image scale and the anchors of the detector of a config."""
    from detectron2.modeling import build_backbone

    shapes = build_backbone(cfg).output_shape()
    anchors = cfg.MODEL.ANCHOR_GENERATOR
    return DetectorScale(
        cfg.INPUT.MIN_SIZE_TEST,
        cfg.INPUT.MAX_SIZE_TEST,
        anchors.SIZES,
        anchors.ASPECT_RATIOS,
        [shapes[name].stride for name in cfg.MODEL.RPN.IN_FEATURES],
        most_detections=max(0, cfg.TEST.DETECTIONS_PER_IMAGE),
    )


def check(dataset, scale, reading, arguments, several):
    """Prints the numbers and defects of a dataset. Returns whether it has no errors; with --fix,
    whether its mended copy has none."""
    if arguments.fix:
        check_replaceable(fixed_path(dataset.json_file))
    say(f"{dataset.json_file}, images in {dataset.image_root}\n")
    original = read_coco(dataset.json_file)
    content = keep_crowds(original) if arguments.keep_crowds else original
    look = partial(find_defects, image_root=dataset.image_root, scale=scale, reading=reading)
    defects = look(content, read_images=not arguments.no_images)
    try:
        mended, changes = fix(content, defects)
    except DatasetError as error:
        say(f"{format_defects(defects)}\n\n{error}")
        return False
    statistics = describe(mended, scale, None if arguments.all else SAMPLE)
    defects = [*check_pieces(statistics), *check_fit(statistics), *defects]
    table = format_statistics(statistics)
    if changes:
        table += "\n\nThese numbers describe the copy that --fix writes."
    say(f"{table}\n\n{format_defects(defects)}\n{left_out()}")
    if arguments.output is not None:
        folder = arguments.output / dataset.name if several else arguments.output
        write_report(folder, table, statistics, defects, changes if arguments.fix else [])
        pictures = ", sample_*.png" if arguments.pictures else ""
        draw_pictures(mended, dataset.image_root, arguments.pictures, folder, reading)
        say(f"wrote to {folder}: table.txt, statistics.json, defects.txt{pictures}\n")
    if not arguments.fix or (not changes and content is original):
        return tell_verdict(defects, bool(changes))
    stuck = [d for d in errors_of(defects) if d.kind.startswith("mostly-") and not d.mending]
    if stuck:  # most instances in the copy would be wrong, and nobody would notice
        say(f"nothing is written: {stuck[0]}\n")
        return False
    path = write_fixed(dataset.json_file, mended)
    left = errors_of(look(mended))
    before, after = (len(c["annotations"]) for c in (content, mended))
    dropped = f"{before - after:,} of {before:,} annotations dropped, " if after < before else ""
    done = f"{len(changes):,} changes, {dropped}{len(left):,} errors left"
    say(f"{tell_drops(changes)}wrote {path}: {done}\n")
    return not left


def tell_verdict(defects, mendable):
    """Prints the last line; returns whether there are no errors."""
    numbers = {"error": len(errors_of(defects))}
    numbers["warning"] = len(defects) - numbers["error"]
    told = ", ".join(f"{number:,} {what}{'s' * (number != 1)}" for what, number in numbers.items())
    verb = "does not start" if numbers["error"] else "starts"
    how = "; --fix writes a mended copy" if mendable else ""
    say(f"{told}: training {verb} with this dataset{how}\n")
    return not numbers["error"]


def tell_drops(changes):
    """Lines that list what the mended copy has dropped, and why."""
    drops = [change for change in changes if change.drops]
    if not drops:
        return ""
    lines = [f"dropped: {len(drops):,}", *(f"  {change}" for change in drops[:_NAMED])]
    if len(drops) > _NAMED:
        lines.append(f"  … and {len(drops) - _NAMED:,} more; --output FOLDER writes all")
    background = sum(change.background for change in drops)
    if background:
        lines.append(
            f"{background:,} of them are instances in images that stay: their pixels become "
            f"background"
        )
    return "\n".join([*lines, ""])


def write_report(folder, table, statistics, defects, changes):
    folder.mkdir(parents=True, exist_ok=True)
    write_text(f"{table}\n", folder / "table.txt")
    write_text(f"{format_defects(defects, None)}\n", folder / "defects.txt")
    if changes:
        write_text("".join(f"{change}\n" for change in changes), folder / "changes.txt")
    write_json(statistics.as_dict(), folder / "statistics.json")


def left_out():
    if can_find_crossings():
        return ""
    return "not checked: polygons that cross themselves; to find them: pip install 'shapely>=2'\n"


def draw_pictures(content, image_root, wanted, folder, reading):
    """Draws random images that have instances: each image beside a copy with its masks."""
    names = {category["id"]: category["name"] for category in content["categories"]}
    instances = {}
    for annotation in content["annotations"]:
        instances.setdefault(annotation["image_id"], []).append(annotation)
    images = [image for image in content["images"] if image["id"] in instances]
    chosen = np.random.default_rng(0).permutation(len(images))[:wanted]
    for number, image in enumerate((images[index] for index in sorted(chosen)), start=1):
        pixels = read_rgb(image_root / image["file_name"], reading)
        annotations = instances[image["id"]]
        masks = np.stack([decode_mask(a["segmentation"], pixels.shape[:2]) for a in annotations])
        colours = instance_colours(len(annotations))
        colours[[bool(a.get("iscrowd")) for a in annotations]] = CROWD
        classes = [
            names[a["category_id"]] + " (crowd)" * bool(a.get("iscrowd")) for a in annotations
        ]
        caption = f"{image['file_name']}, {pixels.shape[0]} x {pixels.shape[1]}"
        picture = draw_sample(pixels, masks, colours, classes, caption)
        write_image(folder / f"sample_{number:03d}.png", picture)
