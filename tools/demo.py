"""The command `semiconv predict`."""

import sys

from semiconv_d2.cli.predict import main

if __name__ == "__main__":
    sys.exit(main())
