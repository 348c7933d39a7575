"""What the prepare scripts share."""

from __future__ import annotations

import sys
from collections.abc import Callable

from semiconv_d2.data.files import DatasetError
from semiconv_d2.data.prepared import Summary


def run(prepare: Callable[[], Summary]) -> None:
    """Prepare a dataset and print what was written; errors are one line and exit status 1."""
    try:
        print(prepare())
    except (DatasetError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("error: interrupted; nothing is prepared")
