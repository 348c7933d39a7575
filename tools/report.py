"""The command `semiconv report`."""

import sys

from semiconv_d2.cli.report import main

if __name__ == "__main__":
    sys.exit(main())
