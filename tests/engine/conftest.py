"""A prepared dataset, and the command-line tools run as users run them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from semiconv_d2.data.synthetic_worms import prepare_synthetic_worms

ROOT = Path(__file__).resolve().parents[2]

QUICK = (
    "INPUT.MIN_SIZE_TRAIN", "(96,)", "INPUT.MIN_SIZE_TEST", "96",
    "SOLVER.IMS_PER_BATCH", "2", "SOLVER.BASE_LR", "0.001",
    "MODEL.RPN.POST_NMS_TOPK_TRAIN", "30", "MODEL.RPN.POST_NMS_TOPK_TEST", "10",
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", "16", "TEST.DETECTIONS_PER_IMAGE", "10",
)  # fmt: skip


@pytest.fixture(scope="session")
def datasets_folder(tmp_path_factory) -> Path:
    """A folder of all datasets with a few synthetic worms."""
    folder = tmp_path_factory.mktemp("datasets")
    prepare_synthetic_worms(folder / "synthetic_worms", train_images=6, val_images=5)
    return folder


@pytest.fixture
def quick() -> tuple[str, ...]:
    """Overrides that make the demo's model small and quick enough for a test."""
    return QUICK


@pytest.fixture
def run_tool(datasets_folder):
    """Runs a script of the repository in its own process; returns status, stdout and stderr."""

    def run(script: str, *arguments, cwd: Path = ROOT) -> tuple[int, str, str]:
        result = subprocess.run(
            [sys.executable, "-W", "ignore", str(ROOT / script), *map(str, arguments)],
            cwd=cwd,
            env=os.environ | {"DETECTRON2_DATASETS": str(datasets_folder)},
            capture_output=True,
            text=True,
        )
        return result.returncode, result.stdout, result.stderr

    return run
