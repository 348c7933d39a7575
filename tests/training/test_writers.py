"""Weights & Biases beside TensorBoard, with a small module in its place."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from detectron2.engine import default_argument_parser
from detectron2.utils.events import EventStorage, TensorboardXWriter

import semiconv_d2
from semiconv_d2.errors import ConfigError
from semiconv_d2.training import Trainer, load_checked_config, load_config
from semiconv_d2.training.setup import check_writers
from semiconv_d2.training.writers import RUN_ID_FILE, WandbWriter, has_wandb

DEMO = semiconv_d2.get_config_file("demo_semiconv")


class FakeRun:
    def __init__(self, options: dict):
        self.options = options
        self.id = options["id"] or "new"
        self.steps: dict[str, str | None] = {}
        self.records: list[dict] = []
        self.finished = False

    def define_metric(self, name, step_metric=None):
        self.steps[name] = step_metric

    def log(self, record):
        assert not self.finished
        self.records.append(dict(record))

    def finish(self):
        self.finished = True


@pytest.fixture
def runs(monkeypatch):
    """Those that have been started, in a module of the name wandb."""
    started = []

    def init(**options):
        started.append(FakeRun(options))
        return started[-1]

    module = SimpleNamespace(
        init=init, Image=lambda values, caption: SimpleNamespace(values=values, caption=caption)
    )
    monkeypatch.setitem(sys.modules, "wandb", module)
    return started


@pytest.fixture
def without_wandb(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)


def fill(storage: EventStorage, start: int, end: int) -> None:
    for storage.iter in range(start, end):
        storage.put_scalar("loss", float(storage.iter))
        storage.put_scalar("lr", storage.iter / 10, smoothing_hint=False)


def test_scalars_are_smoothed_as_in_tensorboard_and_logged_once(runs, tmp_path):
    writer = WandbWriter("worms", tmp_path, {"a": {"b": [1, 2]}}, window_size=5)
    with EventStorage(0) as storage:
        writer.write()
        assert not runs  # nothing to tell yet
        fill(storage, 0, 10)
        writer.write()
        writer.write()
        fill(storage, 10, 20)
        storage.put_scalar("AP", 40.0, smoothing_hint=False)
        writer.write()
        writer.close()
        fill(storage, 20, 21)
        writer.write()  # Detectron2 may, after an error
    [run] = runs
    assert run.options["project"] == "worms"
    assert run.options["config"] == {"a": {"b": [1, 2]}}
    assert run.options["name"] == tmp_path.name
    assert run.records == [
        {"iteration": 9, "loss": 7.0, "lr": 0.9},
        {"iteration": 19, "loss": 17.0, "lr": 1.9, "AP": 40.0},
    ]
    assert run.steps == {"iteration": None, "*": "iteration"}
    assert run.finished


def test_tensorboard_and_wandb_both_get_the_pictures(runs, tmp_path):
    ours, theirs = WandbWriter("worms", tmp_path, {}), TensorboardXWriter(str(tmp_path))
    small = torch.zeros(3, 4, 5, requires_grad=True)
    with EventStorage(3) as storage:
        storage.put_scalar("loss", 1.0)
        storage.put_image("tiles: a", np.full((3, 6, 7), 9, dtype=np.uint8))
        storage.put_image("mask (0)", small)
        storage.put_image("mask (1)", small + 0.5)
        for writer in (ours, theirs):
            writer.write()
        assert not storage._vis_data
        ours.write()
    theirs.close()
    [record] = runs[0].records
    assert record["iteration"] == 3
    [tiles] = record["tiles a"]
    assert tiles.values.shape == (6, 7, 3)
    assert (tiles.values == 9).all()
    first, second = record["mask"]
    assert first.values.shape == (4, 5, 3)
    assert (first.values == 0).all()
    assert (second.values == 128).all()
    assert [first.caption, second.caption] == ["mask (0)", "mask (1)"]
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(tmp_path))
    events.Reload()
    assert set(events.Tags()["images"]) == {"tiles: a", "mask (0)", "mask (1)"}


@pytest.mark.parametrize(
    ("resumed", "kept", "expected"),
    [(True, "old", "old"), (True, None, None), (False, "old", None)],
)
def test_a_training_that_goes_on_goes_on_with_its_run(runs, tmp_path, resumed, kept, expected):
    if kept:
        (tmp_path / RUN_ID_FILE).write_text(f"{kept}\n")
    writer = WandbWriter("worms", tmp_path, {}, resumed=lambda: resumed)
    with EventStorage(50) as storage:
        storage.put_scalar("loss", 1.0)
        writer.write()
    assert runs[0].options["id"] == expected
    assert runs[0].options["resume"] == ("allow" if expected else None)
    assert (tmp_path / RUN_ID_FILE).read_text().strip() == (expected or "new")


def test_training_goes_on_where_no_run_can_be_started(runs, tmp_path, monkeypatch, caplog):
    def fail(**options):
        raise RuntimeError("no key.")

    monkeypatch.setattr(sys.modules["wandb"], "init", fail)
    writer = WandbWriter("worms", tmp_path, {})
    with EventStorage(0) as storage:
        for _ in range(2):
            storage.put_scalar("loss", 1.0)
            writer.write()
            storage.step()
        writer.close()
    assert caplog.text.count("no key. Training goes on without") == 1


def test_a_folder_that_is_called_so_is_not_the_package(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    (tmp_path / "wandb").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert not has_wandb()
    monkeypatch.delitem(sys.modules, "wandb", raising=False)


def test_a_missing_package_is_told_before_training(without_wandb):
    assert load_config("").WANDB.PROJECT == ""
    check_writers(load_config(""))
    with pytest.raises(ConfigError, match=r"worms.*pip install wandb"):
        check_writers(load_config("", ["WANDB.PROJECT", "worms"]))


@pytest.mark.parametrize("eval_only", [False, True])
def test_the_package_is_only_needed_to_train(without_wandb, eval_only, datasets_folder, tmp_path):
    arguments = ["--config-file", DEMO, *(["--eval-only"] if eval_only else [])]
    overrides = ["WANDB.PROJECT", "worms", "OUTPUT_DIR", str(tmp_path), "MODEL.WEIGHTS", ""]
    overrides += own(datasets_folder)
    args = default_argument_parser().parse_args([*arguments, *overrides])
    if eval_only:
        args.opts += ["MODEL.WEIGHTS", str(tmp_path / "model.pth")]
        (tmp_path / "model.pth").touch()
        load_checked_config(args)
    else:
        with pytest.raises(ConfigError, match="pip install wandb"):
            load_checked_config(args)


def own(datasets_folder) -> list[str]:
    worms = datasets_folder / "synthetic_worms"
    return [
        *("OWN_DATA.TRAIN_JSON", str(worms / "train.json")),
        *("OWN_DATA.TEST_JSON", str(worms / "val.json")),
        *("OWN_DATA.TRAIN_IMAGES", str(worms / "images")),
    ]


def train(folder, data, quick, iterations: int, resume: bool = False) -> Trainer:
    overrides = (*quick, "OUTPUT_DIR", str(folder), "MODEL.WEIGHTS", "", "VIS_PERIOD", "1")
    overrides += ("SOLVER.MAX_ITER", str(iterations), "DATALOADER.NUM_WORKERS", "0")
    cfg = load_config(DEMO, [*overrides, *data, "WANDB.PROJECT", "worms"])
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume)
    trainer.train()
    return trainer


def test_the_trainer_logs_to_both(runs, quick, datasets_folder, tmp_path):
    pytest.importorskip("cv2")  # Detectron2's own pictures need it
    data = own(datasets_folder)
    train(tmp_path, data, quick, 2)
    train(tmp_path, data, quick, 3, resume=True)
    train(tmp_path, data, quick, 1)
    first, second, third = runs
    assert first.options["config"]["WANDB"] == {"PROJECT": "worms"}
    assert first.options["config"]["MODEL"]["SEMICONV"]["EMBEDDING_DIM"] == 8
    json.dumps(first.options["config"])
    losses = {r["iteration"]: r for r in first.records if "loss_mask" in r}
    assert set(losses) == {1}  # written once, after the last iteration
    assert {"loss_mask", "loss_kernel"} <= set(losses[1])
    pictures = {r["iteration"] for r in first.records if any("embedding of" in key for key in r)}
    assert pictures == {0, 1}
    assert any("segm/AP" in r for r in first.records)
    assert second.options["id"] == "new"
    assert [r["iteration"] for r in second.records if "loss_mask" in r] == [2]
    assert third.options["id"] is None
    assert all(run.finished for run in runs)
    assert list(tmp_path.glob("events.out.tfevents*"))


@pytest.mark.parametrize("project", ["", "worms"])
def test_wandb_writes_first_and_only_where_there_is_a_project(runs, tmp_path, project):
    trainer = Trainer.__new__(Trainer)
    trainer.cfg = load_config(DEMO, ["OUTPUT_DIR", str(tmp_path), "WANDB.PROJECT", project])
    trainer.max_iter = 1
    assert [isinstance(w, WandbWriter) for w in trainer.build_writers()] == [
        *([True] if project else []),
        False,
        False,
        False,
    ]
    assert not runs
