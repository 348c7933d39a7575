"""The command `semiconv prepare dots`."""

import sys

from semiconv_d2.cli.prepare import dots

if __name__ == "__main__":
    sys.exit(dots())
