"""Weights & Biases beside TensorBoard, with a small module in its place."""

import json
import sys
from types import SimpleNamespace

import pytest

import semiconv_d2
from semiconv_d2.errors import ConfigError
from semiconv_d2.training import EVALUATION, TRAINING, Trainer, load_config, register_own_data
from semiconv_d2.training.checks import check_writers
from semiconv_d2.training.wandb_run import RUN_ID_FILE, has_wandb, wandb_run

DEMO = semiconv_d2.get_config_file("demo_semiconv")


class FakeRun:
    def __init__(self, options: dict):
        self.options = options
        self.id = options["id"] or "new"
        self.finished = False

    def finish(self):
        self.finished = True


@pytest.fixture
def runs(monkeypatch):
    """Those that have been started, in a module of the name wandb."""
    started = []

    def init(**options):
        started.append(FakeRun(options))
        return started[-1]

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    return started


def config(folder, *overrides):
    return load_config(DEMO, ["OUTPUT_DIR", str(folder), "WANDB.PROJECT", "worms", *overrides])


def test_a_run_reads_what_tensorboard_is_told(runs, tmp_path):
    with wandb_run(config(tmp_path), resumed=False):
        [run] = runs
        assert not run.finished
    assert run.finished
    assert run.options["project"] == "worms"
    assert run.options["name"] == tmp_path.name
    assert run.options["sync_tensorboard"]
    assert run.options["config"]["MODEL"]["SEMICONV"]["EMBEDDING_DIM"] == 8
    json.dumps(run.options["config"])


@pytest.mark.parametrize(
    ("resumed", "kept", "expected"),
    [(True, "old", "old"), (True, None, None), (False, "old", None)],
)
def test_a_training_that_goes_on_goes_on_with_its_run(runs, tmp_path, resumed, kept, expected):
    if kept:
        (tmp_path / RUN_ID_FILE).write_text(f"{kept}\n")
    with wandb_run(config(tmp_path), resumed):
        pass
    assert runs[0].options["id"] == expected
    assert runs[0].options["resume"] == ("allow" if expected else None)
    assert (tmp_path / RUN_ID_FILE).read_text().strip() == (expected or "new")


def test_training_goes_on_where_no_run_can_be_started(runs, tmp_path, monkeypatch, caplog):
    def fail(**options):
        raise RuntimeError("no key.")

    monkeypatch.setattr(sys.modules["wandb"], "init", fail)
    done = []
    with wandb_run(config(tmp_path), resumed=False):
        done.append(True)
    assert done
    assert caplog.text.count("no key. Training continues without it") == 1


def test_a_training_that_fails_ends_its_run_and_says_its_own_error(runs, tmp_path):
    with pytest.raises(ValueError, match="mine"), wandb_run(config(tmp_path), resumed=False):
        raise ValueError("mine")
    assert runs[0].finished


def test_a_folder_that_is_called_so_is_not_the_package(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    (tmp_path / "wandb").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert not has_wandb()
    monkeypatch.delitem(sys.modules, "wandb", raising=False)


def test_a_missing_package_is_told_before_training_and_not_needed_to_evaluate(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert load_config("").WANDB.PROJECT == ""
    check_writers(load_config(""), TRAINING)
    cfg = load_config("", ["WANDB.PROJECT", "worms"])
    check_writers(cfg, EVALUATION)
    with pytest.raises(ConfigError, match=r"worms.*pip install wandb"):
        check_writers(cfg, TRAINING)


def test_the_trainer_starts_a_run_and_goes_on_with_it(runs, quick, datasets_folder, tmp_path):
    worms = datasets_folder / "synthetic_worms"

    def train(iterations: int, resume: bool, project: str = "worms") -> None:
        overrides = (*quick, "MODEL.WEIGHTS", "", "SOLVER.MAX_ITER", str(iterations))
        overrides += ("DATALOADER.NUM_WORKERS", "0", "DATASETS.TEST", "()")
        overrides += ("OWN_DATA.TRAIN_JSON", str(worms / "train.json"))
        overrides += ("OWN_DATA.TRAIN_IMAGES", str(worms / "images"), "WANDB.PROJECT", project)
        cfg = config(tmp_path, *overrides)
        register_own_data(cfg)
        trainer = Trainer(cfg)
        trainer.resume_or_load(resume)
        trainer.train()

    train(1, resume=False)
    train(2, resume=True)
    train(3, resume=True, project="")
    first, second = runs
    assert first.options["id"] is None
    assert second.options["id"] == "new"
    assert first.finished
    assert second.finished
    assert list(tmp_path.glob("events.out.tfevents*"))
