"""Make all instances of a dataset in COCO's format instances of one class."""

import argparse
import sys
from pathlib import Path

from semiconv_d2.data.files import DatasetError
from semiconv_d2.data.merging import merge_classes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("json", type=Path, help="annotations")
    parser.add_argument("output", type=Path, help="JSON to write")
    parser.add_argument("--name", default="object", help="of the class (default: %(default)s)")
    args = parser.parse_args()
    try:
        written = merge_classes(args.json, args.output, args.name)
    except (DatasetError, OSError) as error:
        sys.exit(f"error: {error}")
    images, instances = len(written["images"]), len(written["annotations"])
    print(f"{args.output}: {images} images, {instances} instances")


if __name__ == "__main__":
    main()
