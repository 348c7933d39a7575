"""The command `semiconv prepare merge_classes`."""

import sys

from semiconv_d2.cli.prepare import merge_classes

if __name__ == "__main__":
    sys.exit(merge_classes())
