"""`python -m semiconv_d2` is the command `semiconv`."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
