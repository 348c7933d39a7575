"""`tools/train_net.py`, from the command line to the files it leaves."""

import json
from pathlib import Path

import pytest

CONFIG = "demo_semiconv"


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_trains_evaluates_resumes_and_predicts(run_tool, quick, tmp_path):
    """One story: every step starts from what the last one left."""
    base = ("--config-file", CONFIG)
    keys = ("OUTPUT_DIR", tmp_path, "MODEL.WEIGHTS", "", *quick)
    status, out, err = run_tool("tools/train_net.py", *base, *keys, "SOLVER.MAX_ITER", 2)
    assert status == 0, err
    assert (tmp_path / "model_final.pth").is_file()
    assert (tmp_path / "inference" / "coco_instances_results.json").is_file()
    assert list(tmp_path.glob("events.out.tfevents.*"))
    log = (tmp_path / "log.txt").read_text()
    for text in ("Environment info:", "Running with full config", "Model:\n"):
        assert text in log
        assert text not in out
    assert f"Environment, config and model are in {tmp_path / 'log.txt'}" in out
    written = set().union(*lines_of(tmp_path / "metrics.json"))
    assert {"loss_mask", "loss_kernel", "segm/AP"} <= written

    status, out, err = run_tool(
        "tools/train_net.py", *base, "--resume", *keys, "SOLVER.MAX_ITER", 20
    )
    assert status == 0, err
    assert "Starting training from iteration 2" in out
    metrics = lines_of(tmp_path / "metrics.json")
    assert max(m["iteration"] for m in metrics if "loss_mask" in m) == 19
    assert any("semiconv/sigma" in m for m in metrics)

    status, _, err = run_tool("tools/train_net.py", *base, *keys, "SOLVER.MAX_ITER", 2)
    assert status == 1
    assert "already holds a run" in err
    assert lines_of(tmp_path / "metrics.json") == metrics
    config = (tmp_path / "config.yaml").read_text()

    final = ("MODEL.WEIGHTS", tmp_path / "model_final.pth")
    status, out, err = run_tool(
        "tools/train_net.py", *base, "--eval-only", *keys[:2], *quick, *final,
        "TEST.AUG.ENABLED", True, "TEST.AUG.MIN_SIZES", "(64,)",
    )  # fmt: skip
    assert status == 0, err
    assert (tmp_path / "inference_TTA" / "coco_instances_results.json").is_file()
    assert (tmp_path / "config.yaml").read_text() == config

    status, _, err = run_tool(
        "tools/train_net.py", *base, "--eval-only", *keys[:2], *quick, *final,
        "MODEL.SEMICONV.MIXING", "addtive",
    )  # fmt: skip
    assert status == 1
    assert "error: MODEL: MIXING is 'addtive'" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--config-file", "gone.yaml"), "error: There is no config file gone.yaml."),
        (
            ("--config-file", CONFIG, "MODEL.WEIGHTS", "no.pth"),
            "error: MODEL.WEIGHTS is no.pth",
        ),
        (("--config-file", CONFIG, "MODEL.SEMICONV.SIGMAA", 1), "SIGMAA"),
        (("--config-file", CONFIG, "--num-gpus", 99), "--num-gpus 99"),
        (("--config-file", CONFIG, "--eval-only", "MODEL.WEIGHTS", ""), "MODEL.WEIGHTS is empty"),
        (
            ("--config-file", CONFIG, "MODEL.WEIGHTS", "", "DATASETS.TRAIN", "('bbbc010_train',)"),
            "semiconv prepare bbbc010",
        ),
        (("MODEL.WEIGHTS", ""), "error: Name a config, for example: --config-file"),
        (
            ("--config-file", CONFIG, "MODEL.WEIGHTS", "", "--resume"),
            "error: --resume comes after the config keys",
        ),
        (
            ("--config-file", CONFIG, "MODEL.WEIGHTS", "", "SOLVER.IMS_PER_BATCH", 0),
            "error: SOLVER.IMS_PER_BATCH is 0",
        ),
        (  # found before training, not after it
            ("--config-file", CONFIG, "MODEL.WEIGHTS", "", "DATASETS.TEST", "('bbbc010_test',)"),
            "semiconv prepare bbbc010",
        ),
    ],
)
def test_what_cannot_run_says_so_in_one_line(run_tool, tmp_path, arguments, message):
    status, _, err = run_tool("tools/train_net.py", *arguments, cwd=_elsewhere(tmp_path))
    assert status == 1
    assert message in err
    assert "Traceback" not in err


def _elsewhere(folder: Path) -> Path:
    """A working directory of its own that sees the configs, so that nothing is written here."""
    (folder / "configs").symlink_to(Path(__file__).resolve().parents[2] / "configs")
    return folder
