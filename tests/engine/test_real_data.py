"""The full-size configs on real data, a few iterations on whatever machine this is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# From scratch, small images and batches: what a CPU can do in a minute.
SMALL = (
    "MODEL.WEIGHTS", "", "MODEL.RESNETS.NORM", "BN", "MODEL.BACKBONE.FREEZE_AT", 0,
    "INPUT.MIN_SIZE_TRAIN", "(160,)", "INPUT.MIN_SIZE_TEST", 160, "DATALOADER.NUM_WORKERS", 0,
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", 32, "MODEL.ROI_HEADS.SCORE_THRESH_TEST", 0.0,
    "TEST.DETECTIONS_PER_IMAGE", 5,
)  # fmt: skip


def run(datasets: Path, script: str, *arguments) -> str:
    result = subprocess.run(
        [sys.executable, "-W", "ignore", str(ROOT / script), *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"DETECTRON2_DATASETS": str(datasets)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.slow
def test_voc_config_trains_evaluates_and_resumes(real_voc, tmp_path):
    run(tmp_path, "datasets/prepare_voc.py", real_voc)
    names = ("DATASETS.TRAIN", "('voc_2007_instance_train',)",
             "DATASETS.TEST", "('voc_2007_instance_val',)")  # fmt: skip
    command = ("tools/train_net.py", "--config-file", "configs/voc_semiconv.yaml")
    keys = (*names, *SMALL, "OUTPUT_DIR", tmp_path / "out")
    first = run(tmp_path, *command, *keys, "SOLVER.MAX_ITER", 2)
    assert "Starting training from iteration 0" in first
    assert "Evaluation results for voc_2007_instance_val" in first
    second = run(tmp_path, *command, "--resume", *keys, "SOLVER.MAX_ITER", 3)
    assert "Starting training from iteration 2" in second


@pytest.mark.slow
def test_bbbc010_config_trains_and_evaluates(real_bbbc010, tmp_path):
    run(tmp_path, "datasets/prepare_bbbc010.py", real_bbbc010)
    out = run(
        tmp_path, "tools/train_net.py", "--config-file", "configs/bbbc010_semiconv_R_50.yaml",
        *SMALL, "OUTPUT_DIR", tmp_path / "out", "SOLVER.MAX_ITER", 2,
    )  # fmt: skip
    assert "Evaluation results for bbbc010_test" in out
