"""The command `semiconv train`."""

import sys

from semiconv_d2.cli.train import main

if __name__ == "__main__":
    sys.exit(main())
