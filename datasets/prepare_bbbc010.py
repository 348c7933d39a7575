"""The command `semiconv prepare bbbc010`."""

import sys

from semiconv_d2.cli.prepare import bbbc010

if __name__ == "__main__":
    sys.exit(bbbc010())
