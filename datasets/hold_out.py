"""The command `semiconv prepare hold_out`."""

import sys

from semiconv_d2.cli.prepare import hold_out

if __name__ == "__main__":
    sys.exit(hold_out())
