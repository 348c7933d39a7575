"""Convert images with instance masks into a dataset in COCO's format.

    semiconv convert labels images labels --category cell --output prepared
    semiconv convert yolo dataset --output prepared

Wrong images and instances are left out, counted and named. With --strict they are an error.
docs/how_to/convert.md describes the input forms and the files that are written."""

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
            help="share of the images for val.json; 0 for no val.json (default: the split of the "
            f"data, or {VAL_FRACTION} if the data have no split)",
        )
        sub.add_argument(
            "--seed",
            type=int,
            default=0,
            help="random seed: another seed puts other images into val",
        )
        sub.add_argument(
            "--strict",
            action="store_true",
            help="stop with an error if something is wrong, instead of leaving it out",
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
                help=f"which one to read from images with several {what}; the first is 0; give "
                "three for red, green and blue",
            )
        return sub

    labels = add("labels", "images, and a label image for each: its values are instance numbers")
    labels.add_argument("images", type=Path, help="folder of the images")
    labels.add_argument("labels", type=Path, help="folder of label images of the same names")
    labels.add_argument(
        "--background", type=int, default=0, help="label of the background (default: %(default)s)"
    )
    labels.add_argument(
        "--void", type=int, help="another label that is no instance (default: none)"
    )
    labels.add_argument(
        "--label-suffix",
        default="",
        metavar="TEXT",
        help="ending of the names of label images, after the name of the image, such as _cp_masks",
    )
    masks = add("masks", "images, and a mask file for each instance")
    masks.add_argument("images", type=Path, help="folder of the images")
    masks.add_argument(
        "masks",
        type=Path,
        help="folder with IMAGE_1.png, IMAGE_2.png, …, or with one folder for each image, named "
        "after the image",
    )
    masks.add_argument(
        "--category-folders",
        action="store_true",
        help="the folder of masks has one such folder for each category, named after the category",
    )
    for sub in (labels, masks):
        sub.add_argument(
            "--category", default=CATEGORY, help="name of the category (default: %(default)s)"
        )
    yolo = add("yolo", "a dataset for segmentation in the layout of Ultralytics")
    yolo.add_argument("root", type=Path, help="folder with the data.yaml, or the file itself")
    labelme = add("labelme", "JSON files of the LabelMe application")
    labelme.add_argument(
        "root", type=Path, help="folder of the JSON files, or with folders train, val and test"
    )
    labelme.add_argument(
        "--categories",
        nargs="+",
        default=(),
        metavar="NAME",
        help="names of the categories, in the order of their ids (default: all labels, sorted)",
    )
    cvat = add("cvat", 'an export "CVAT for images 1.1"')
    cvat.add_argument("root", type=Path, help="folder with the XML, or the file itself")
    cvat.add_argument(
        "--images",
        type=Path,
        help="folder of the images (default: the folder images beside the XML)",
    )
    other = add("datumaro", "anything else that datumaro reads")
    other.add_argument(
        "format", help='name of the format in datumaro, such as "coco" or "label_me"'
    )
    other.add_argument("root", type=Path, help="folder of the dataset")
    return parser.parse_args(argv)
