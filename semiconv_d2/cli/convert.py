"""Convert images with instance masks into a dataset in COCO's format.

    semiconv convert labels images labels --category cell --output prepared
    semiconv convert yolo dataset --output prepared

If single images or instances are wrong, they are left out, counted and named. With --strict they
are an error. docs/how_to/convert.md describes the forms and what is written."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..data.formats.cvat import cvat_data
from ..data.formats.datumaro_formats import datumaro_data
from ..data.formats.labelme import labelme_data
from ..data.formats.mask_folders import CATEGORY, labels_data, masks_data
from ..data.formats.own import VAL_FRACTION, OwnData, prepare_own
from ..data.formats.yolo import yolo_data
from ..data.pixels import IntensityRange, Reading
from .commands import finish, parser_of, say


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_arguments(argv)

    def prepare() -> None:
        reading = Reading(
            IntensityRange.parse(args.intensity_range), tuple(args.pages), tuple(args.channels)
        )
        options = (args.val_fraction, args.seed, args.strict, reading)
        say(prepare_own(read(args), args.output, *options))

    return finish(prepare, interrupted="interrupted; nothing is prepared")


def read(args: argparse.Namespace) -> OwnData:
    if args.form == "labels":
        return labels_data(
            args.images, args.labels, args.category, args.background, args.void, args.label_suffix
        )
    if args.form == "masks":
        return masks_data(args.images, args.masks, args.category, args.category_folders)
    if args.form == "yolo":
        return yolo_data(args.root)
    if args.form == "labelme":
        return labelme_data(args.root, args.categories)
    if args.form == "cvat":
        return cvat_data(args.root, args.images)
    return datumaro_data(args.root, args.format)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = parser_of("convert", __doc__)
    forms = parser.add_subparsers(dest="form", required=True, metavar="FORM")

    def add(form: str, text: str) -> argparse.ArgumentParser:
        sub = forms.add_parser(form, help=text, description=text)
        sub.add_argument("--output", type=Path, required=True, help="folder to write")
        sub.add_argument(
            "--val-fraction",
            type=float,
            metavar="F",
            help="share of the images for val.json, 0 for none (default: the split of the data, "
            f"or {VAL_FRACTION} where they have none)",
        )
        sub.add_argument(
            "--seed",
            type=int,
            default=0,
            help="random seed: another one puts other images into val",
        )
        sub.add_argument(
            "--strict",
            action="store_true",
            help="end with an error where something is wrong, in place of leaving it out",
        )
        sub.add_argument(
            "--intensity-range",
            default=str(IntensityRange()),
            metavar="RANGE",
            help="which values of images of more than 8 bits become 0 and 255: 'percentiles LOW "
            "HIGH', 'bounds LOW HIGH' or 'full' (default: %(default)s)",
        )
        for what in ("pages", "channels"):
            sub.add_argument(
                f"--{what}",
                type=int,
                nargs="+",
                default=(),
                metavar="N",
                help=f"of images with several {what} the one that counts, from 0 on, or three for "
                "red, green and blue",
            )
        return sub

    labels = add("labels", "images, and for each an image with the number of the instance")
    labels.add_argument("images", type=Path, help="folder of the images")
    labels.add_argument("labels", type=Path, help="folder of label images of the same names")
    labels.add_argument(
        "--background", type=int, default=0, help="label of no instance (default: %(default)s)"
    )
    labels.add_argument("--void", type=int, help="another such label (default: none)")
    labels.add_argument(
        "--label-suffix",
        default="",
        metavar="TEXT",
        help="what the names of label images have after those of the images, as _cp_masks",
    )
    masks = add("masks", "images, and a mask file for each instance")
    masks.add_argument("images", type=Path, help="folder of the images")
    masks.add_argument(
        "masks",
        type=Path,
        help="folder of IMAGE_1.png and so on, or of folders named as the images",
    )
    masks.add_argument(
        "--category-folders",
        action="store_true",
        help="the folder of masks has such a folder for each category, named after it",
    )
    for sub in (labels, masks):
        sub.add_argument(
            "--category", default=CATEGORY, help="name of the category (default: %(default)s)"
        )
    yolo = add("yolo", "a data set for segmentation in the layout of Ultralytics")
    yolo.add_argument("root", type=Path, help="folder with the data.yaml, or that file")
    labelme = add("labelme", "JSON files of the LabelMe application")
    labelme.add_argument("root", type=Path, help="folder of them, or with train, val and test")
    labelme.add_argument(
        "--categories",
        nargs="+",
        default=(),
        metavar="NAME",
        help="in the order of their ids (default: all labels, sorted)",
    )
    cvat = add("cvat", 'an export "CVAT for images 1.1"')
    cvat.add_argument("root", type=Path, help="folder with the XML, or that file")
    cvat.add_argument(
        "--images", type=Path, help="folder of the images (default: images beside the XML)"
    )
    other = add("datumaro", "anything else that datumaro reads")
    other.add_argument("format", help='as datumaro names it, such as "coco" or "label_me"')
    other.add_argument("root", type=Path, help="folder of the data set")
    return parser.parse_args(argv)
