from __future__ import annotations

from pathlib import Path

import pytest
from small_coco import make_dataset


@pytest.fixture
def dataset(tmp_path: Path) -> tuple[dict, Path]:
    return make_dataset(tmp_path)
