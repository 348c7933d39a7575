"""The command `semiconv prepare cvppp_a1`."""

import sys

from semiconv_d2.cli.prepare import cvppp_a1

if __name__ == "__main__":
    sys.exit(cvppp_a1())
