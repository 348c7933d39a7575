"""The command `semiconv convert`."""

import sys

from semiconv_d2.cli.convert import main

if __name__ == "__main__":
    sys.exit(main())
