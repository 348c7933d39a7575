"""Hold out every n-th image of a training set in COCO's format, to make choices on."""

import argparse
import sys
from pathlib import Path

from semiconv_d2.data.files import DatasetError
from semiconv_d2.data.holding_out import hold_out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("json", type=Path, help="annotations of the training set")
    parser.add_argument(
        "--every", type=int, default=5, metavar="N", help="hold out every N-th (default: 5)"
    )
    args = parser.parse_args()
    try:
        for path, (images, annotations) in hold_out(args.json, args.every).items():
            print(f"{path}: {images} images, {annotations} instances")
    except (DatasetError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
