"""Two processes that torchrun has started train one model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import distributed, nn

from semiconv_d2.errors import ConfigError
from semiconv_d2.training.processes import Worker, is_lost_connection, share_statistics
from semiconv_d2.training.run_json import gather_timings

ROOT = Path(__file__).resolve().parents[2]
STEPS = 4

pytestmark = pytest.mark.skipif(not distributed.is_gloo_available(), reason="PyTorch without gloo")


def run(folder: Path, datasets: Path, quick, *keys, restarts=0, **environment):
    """Two processes, of which the second has no instances; returns what has ended."""
    return subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
            *("--max-restarts", str(restarts), "--rdzv-backend", "c10d"),
            *("--rdzv-endpoint", "localhost:0"),
            str(ROOT / "tests" / "helpers" / "watched_training.py"),
            *("--config-file", "demo_semiconv", "OUTPUT_DIR", str(folder), "SEED", "7", *quick),
            *("MODEL.WEIGHTS", "", "SOLVER.MAX_ITER", str(STEPS), "SOLVER.STEPS", "(3,)"),
            *("SOLVER.CHECKPOINT_PERIOD", "2", "DATALOADER.NUM_WORKERS", "0", *map(str, keys)),
        ],
        env={
            **os.environ,
            "DETECTRON2_DATASETS": str(datasets),
            "OMP_NUM_THREADS": "1",
            "WATCHED": str(folder),
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def trained(datasets_folder, quick, tmp_path_factory) -> Path:
    """The folder of a training of two processes."""
    folder = tmp_path_factory.mktemp("two")
    ended = run(folder, datasets_folder, quick)
    assert ended.returncode == 0, ended.stderr[-2000:]
    return folder


def load(path: Path) -> dict[str, torch.Tensor]:
    state = torch.load(path, weights_only=True)
    return state.get("model", state)


def differences(ours: dict, theirs: dict) -> list[str]:
    assert ours.keys() == theirs.keys()
    return [name for name in ours if not torch.equal(ours[name], theirs[name])]


def test_they_train_one_model_into_one_folder(trained):
    first = load(trained / "0.pth")
    assert any(name.endswith("running_var") for name in first)
    assert differences(first, load(trained / "1.pth")) == []
    assert differences(first, load(trained / "model_final.pth")) == []
    record = json.loads((trained / "run.json").read_text())
    assert record["machine"]["processes"] == 2
    assert record["inference"]["synthetic_worms_val"]["images"] == 5
    assert "later" not in record
    assert sorted(p.name for p in trained.glob("model_*.pth")) == [
        *("model_0000001.pth", "model_0000003.pth", "model_final.pth"),
    ]


def test_they_evaluate_as_one_does(trained, run_tool, quick, tmp_path):
    status, _, err = run_tool(
        "tools/train_net.py", "--config-file", "demo_semiconv", "--eval-only", *quick,
        "OUTPUT_DIR", tmp_path, "MODEL.WEIGHTS", trained / "model_final.pth",
    )  # fmt: skip
    assert status == 0, err
    alone, together = read_inference(tmp_path), read_inference(trained)
    assert len(alone["coco_instances_results.json"]) > 10
    # another number of threads, or another place in memory, rounds sums in another way
    assert_close(together, alone, 1e-3)


def read_inference(folder: Path) -> dict:
    return {p.name: json.loads(p.read_text()) for p in (folder / "inference").glob("*.json")}


def assert_close(value, expected, tolerance: float) -> None:
    """Numbers agree to a tolerance, all else exactly but for the pixels of masks."""
    if isinstance(expected, dict):
        assert value.keys() == expected.keys()
        for key in expected.keys() - {"segmentation"}:
            assert_close(value[key], expected[key], tolerance)
    elif isinstance(expected, list):
        assert len(value) == len(expected)
        for one, other in zip(value, expected, strict=True):
            assert_close(one, other, tolerance)
    elif isinstance(expected, float):
        assert value == pytest.approx(expected, abs=tolerance)
    else:
        assert value == expected


@pytest.mark.slow
def test_when_one_is_killed_they_go_on_from_the_last_checkpoint(
    trained, datasets_folder, quick, tmp_path
):
    ended = run(tmp_path, datasets_folder, quick, restarts=1, KILLED_AT="3")
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert "Starting training from iteration 2" in ended.stdout
    assert differences(load(trained / "0.pth"), load(tmp_path / "model_final.pth")) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (("SOLVER.IMS_PER_BATCH", 3), "must be a multiple of the number of processes, 2"),
        (("MODEL.NONSENSE", 3), "Non-existent key: MODEL.NONSENSE"),
        (("SOLVER.BASE_LR", 1e8, "SOLVER.WARMUP_ITERS", 0), "the training diverges"),
    ],
)
def test_what_is_wrong_is_the_last_that_is_said(datasets_folder, quick, tmp_path, keys, message):
    ended = run(tmp_path, datasets_folder, quick, *keys)
    assert ended.returncode == 1
    said, _, summary = ended.stderr.partition("Traceback")  # torchrun's own
    assert message in said
    assert message in summary
    assert "semiconv_d2/" not in ended.stderr  # no traceback of ours


ENVIRONMENT = {
    "RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4",
    "MASTER_ADDR": "localhost", "MASTER_PORT": "1",
}  # fmt: skip


@pytest.mark.parametrize("missing", [None, *ENVIRONMENT])
def test_torchrun_is_known_by_all_of_its_variables(monkeypatch, missing):
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("TORCHELASTIC_RESTART_COUNT", raising=False)
    if missing:
        monkeypatch.delenv(missing)
    expected = None if missing else Worker(5, 8, 1, 4, 0)
    assert Worker.of_environment() == expected


def test_a_worker_that_was_restarted_knows_it(monkeypatch):
    for name, value in ENVIRONMENT.items() | {("TORCHELASTIC_RESTART_COUNT", "2")}:
        monkeypatch.setenv(name, value)
    assert Worker.of_environment().restarts == 2


@pytest.mark.parametrize(
    ("worker", "device", "message"),
    [
        (Worker(0, 4, 0, 4), "cuda", "4 processes on this machine, which has 2 GPUs"),
        (Worker(0, 3, 0, 2), "cpu", "3 processes, 2 of them on this machine"),
    ],
)
def test_processes_that_do_not_fit_the_machine(monkeypatch, worker, device, message):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ConfigError, match=message):
        worker.check(device)
    Worker(0, 4, 0, 2).check(device)


def test_a_lost_connection_is_one_of_several_processes():
    assert not is_lost_connection(RuntimeError("Connection closed by peer"))


def test_timings_of_all_processes_are_one(monkeypatch):
    shares = [
        [{"seconds_per_image": 0.1, "images": 3}, None, None],
        [{"seconds_per_image": 0.2, "images": 1}, {"seconds_per_image": 0.5, "images": 2}, None],
    ]
    monkeypatch.setattr("detectron2.utils.comm.all_gather", lambda data: shares)
    assert gather_timings(shares[0]) == [
        {"seconds_per_image": 0.125, "images": 4},
        {"seconds_per_image": 0.5, "images": 2},
        None,
    ]


def test_statistics_of_one_process_stay_as_they_are():
    model = nn.BatchNorm2d(2)
    model(torch.randn(2, 2, 3, 3))
    before = model.running_var.clone()
    share_statistics(model)
    assert torch.equal(model.running_var, before)
