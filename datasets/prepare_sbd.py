"""The command `semiconv prepare sbd`."""

import sys

from semiconv_d2.cli.prepare import sbd

if __name__ == "__main__":
    sys.exit(sbd())
