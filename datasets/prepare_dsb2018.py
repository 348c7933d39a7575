"""The command `semiconv prepare dsb2018`."""

import sys

from semiconv_d2.cli.prepare import dsb2018

if __name__ == "__main__":
    sys.exit(dsb2018())
