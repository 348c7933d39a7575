"""`python -m semiconv_d2` is the command `semiconv`."""

import sys

from semiconv_d2.cli import main

if __name__ == "__main__":
    sys.exit(main())
