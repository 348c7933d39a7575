"""The command `semiconv prepare voc`."""

import sys

from semiconv_d2.cli.prepare import voc

if __name__ == "__main__":
    sys.exit(voc())
