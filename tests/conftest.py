"""Real data where it can be found, and the same random numbers in every test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def _real_data(name: str) -> Path:
    root = Path(os.environ.get("SEMICONV_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (root / name).is_dir():
        pytest.skip(f"no real data: set SEMICONV_TEST_DATA to the folder that has {name}")
    return root / name


@pytest.fixture(scope="session")
def real_voc() -> Path:
    return _real_data("VOC2007_subset")


@pytest.fixture(scope="session")
def real_bbbc010() -> Path:
    return _real_data("BBBC010")


@pytest.fixture(scope="session")
def real_coco_tiny() -> Path:
    return _real_data("coco_tiny")
