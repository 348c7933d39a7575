"""The command `semiconv check`."""

import sys

from semiconv_d2.cli.check import main

if __name__ == "__main__":
    sys.exit(main())
