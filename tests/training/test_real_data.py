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
    assert "\nvoc_2007_instance_val · " in first
    second = run(tmp_path, *command, "--resume", *keys, "SOLVER.MAX_ITER", 3)
    assert "Starting training from iteration 2" in second


@pytest.mark.slow
def test_bbbc010_coloring_trains_resumes_and_evaluates(real_bbbc010, tmp_path):
    run(tmp_path, "datasets/prepare_bbbc010.py", real_bbbc010)
    command = ("tools/train_net.py", "--config-file", "configs/bbbc010_coloring.yaml")
    keys = ("OUTPUT_DIR", tmp_path / "out", "EVALUATION.THRESHOLD_DATASET", "")
    run(tmp_path, *command, *keys, "DATASETS.TEST", "()", "SOLVER.MAX_ITER", 2)
    out = run(tmp_path, *command, "--resume", *keys, "SOLVER.MAX_ITER", 3)
    assert "Starting training from iteration 2" in out
    assert "\nbbbc010_test · " in out
    assert "mask AP by difficulty" in out


# An image of 2048 × 2048 with 200 discs; Φ = 0, so that Ψ is the position. Prints the number of
# instances and the peak of memory, in bytes, of this process alone.
LARGE_IMAGE = """
import sys, torch, semiconv_d2
from pathlib import Path
from detectron2.modeling import build_model
from semiconv_d2.training import load_config
cfg = load_config(semiconv_d2.get_config_file(sys.argv[1]), [
    "MODEL.WEIGHTS", "", "MODEL.ROI_HEADS.NUM_CLASSES", "1", "TEST.DETECTIONS_PER_IMAGE", "200",
    "MODEL.COLORING.FOREGROUND", "image", "MODEL.SEMICONV.SIGMA_INIT", "20.0"])
model = build_model(cfg).eval()
torch.nn.init.zeros_(model.embedding_head.embedding.weight)
image = torch.zeros(3, 2048, 2048, dtype=torch.uint8)
y, x = torch.meshgrid(torch.arange(2048), torch.arange(2048), indexing="ij")
for k in range(200):
    cy, cx = 70 + k // 15 * 140, 70 + k % 15 * 135
    image[:, (y - cy) ** 2 + (x - cx) ** 2 <= 45**2] = 255
[found] = model([{"image": image}])
[peak] = [s for s in Path("/proc/self/status").read_text().splitlines() if s.startswith("VmHWM")]
print(len(found["instances"]), int(peak.split()[1]) * 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="memory is read from /proc")
@pytest.mark.parametrize("config", ["demo_coloring", "own_coloring"])
def test_a_large_image_with_many_instances_fits_into_4_gigabytes(config):
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LARGE_IMAGE, config],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    instances, peak = map(int, result.stdout.split()[-2:])
    assert instances == 200
    assert peak < 4 * 2**30


@pytest.mark.slow
def test_bbbc010_config_trains_and_evaluates(real_bbbc010, tmp_path):
    run(tmp_path, "datasets/prepare_bbbc010.py", real_bbbc010)
    out = run(
        tmp_path, "tools/train_net.py", "--config-file", "configs/bbbc010_semiconv_R_50.yaml",
        *SMALL, "OUTPUT_DIR", tmp_path / "out", "SOLVER.MAX_ITER", 2,
    )  # fmt: skip
    assert "\nbbbc010_test · " in out
