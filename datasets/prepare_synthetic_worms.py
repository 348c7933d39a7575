"""The command `semiconv prepare synthetic_worms`."""

import sys

from semiconv_d2.cli.prepare import synthetic_worms

if __name__ == "__main__":
    sys.exit(synthetic_worms())
