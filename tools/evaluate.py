"""The command `semiconv evaluate`."""

import sys

from semiconv_d2.cli.evaluate import main

if __name__ == "__main__":
    sys.exit(main())
