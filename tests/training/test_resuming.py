"""A training that is stopped, killed, damaged or diverging goes on, or says how."""

from __future__ import annotations

import errno
import json
import multiprocessing
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
from detectron2.engine import AMPTrainer

from semiconv_d2.errors import ConfigError, TrainingError
from semiconv_d2.training import Trainer, load_config, register_own_data
from semiconv_d2.training.checkpoints import newest_checkpoint

STEPS = 3


def config_of(worms: Path, folder: Path, quick, *keys):
    """A short training with augmentation, of which each step is saved."""
    folder.mkdir(exist_ok=True)
    cfg = load_config(
        "demo_semiconv",
        [
            *("OWN_DATA.TRAIN_JSON", str(worms / "train.json"), "DATASETS.TEST", "()"),
            *("OWN_DATA.TRAIN_IMAGES", str(worms / "images")),
            *("MODEL.WEIGHTS", "", "OUTPUT_DIR", str(folder), "SEED", 7, *quick),
            *("SOLVER.MAX_ITER", STEPS, "SOLVER.STEPS", "(2,)", "SOLVER.IMS_PER_BATCH", 1),
            *("INPUT.MIN_SIZE_TRAIN", "(64,)", "INPUT.MIN_SIZE_TEST", 64),
            *("SOLVER.CHECKPOINT_PERIOD", 1, "DATALOADER.NUM_WORKERS", 0, *keys),
        ],
    )
    register_own_data(cfg)
    return cfg


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """A process that is forked from one with several threads of OpenMP would wait for them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def worms(datasets_folder) -> Path:
    return datasets_folder / "synthetic_worms"


@pytest.fixture
def config(worms, quick, tmp_path):
    return lambda name, *keys: config_of(worms, tmp_path / name, quick, *keys)


def train(cfg, resume=False) -> Trainer:
    torch.manual_seed(max(cfg.SEED, 0))  # of a new model, as Detectron2's set-up does it
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume)
    trainer.train()
    return trainer


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "model_final.pth", weights_only=True)["model"]


def assert_same(ours: dict, theirs: dict) -> None:
    assert [k for k in ours if not torch.equal(ours[k], theirs[k])] == []


@pytest.fixture(scope="module")
def never_stopped(datasets_folder, quick, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "straight"
    train(config_of(datasets_folder / "synthetic_worms", folder, quick))
    return folder


@pytest.fixture
def straight(never_stopped, tmp_path) -> Path:
    """The folder of a complete training."""
    return Path(shutil.copytree(never_stopped, tmp_path / "straight"))


def stop_after(folder: Path, iteration: int) -> None:
    """Removes what a training has written since."""
    for path in folder.glob("model_*.pth"):
        if path.stem == "model_final" or int(path.stem[-7:]) > iteration:
            path.unlink()
    (folder / "last_checkpoint").write_text(f"model_{iteration:07d}.pth")


def test_a_resumed_training_is_that_which_was_never_stopped(config, straight):
    expected = weights(straight)
    stop_after(straight, 0)
    trainer = train(config("straight"), resume=True)
    assert trainer.start_iter == 1
    assert_same(expected, weights(straight))


def test_mixed_precision_on_a_cpu_differs_by_its_rounding(config, monkeypatch):
    monkeypatch.setattr("semiconv_d2.training.configs.has_mixed_precision", lambda device: True)
    exact = train(config("exact"))
    mixed = train(config("mixed", "SOLVER.AMP.ENABLED", True))
    loss, expected = (t.storage.history("loss_rpn_cls").values()[0][0] for t in (mixed, exact))
    assert loss != expected
    assert loss == pytest.approx(expected, rel=0.02)
    assert {w.dtype for w in mixed.model.parameters()} == {torch.float32}
    state = mixed.state_dict()
    mixed._trainer = AMPTrainer(mixed.model, mixed.data_loader, mixed.optimizer)
    mixed.load_state_dict(state)  # the run goes on with a GPU
    folder = Path(mixed.cfg.OUTPUT_DIR)
    trained = weights(folder)
    stop_after(folder, 0)
    assert train(mixed.cfg, resume=True).start_iter == 1
    assert_same(trained, weights(folder))


def test_what_does_not_train_makes_no_difference(config, straight, tmp_path, worms):
    evaluated = ("OWN_DATA.TEST_JSON", str(worms / "val.json"), "TEST.EVAL_PERIOD", 2)
    train(config("other", "DATALOADER.NUM_WORKERS", 2, "VIS_PERIOD", 1, *evaluated))
    assert_same(weights(straight), weights(tmp_path / "other"))


NEWEST = f"model_{STEPS - 1:07d}.pth"


def scramble(path):
    content = bytearray(path.read_bytes())
    content[200:20_000] = bytes(19_800)
    path.write_bytes(content)


def test_it_goes_on_from_the_newest_checkpoint_that_can_be_read(config, straight, caplog):
    expected = weights(straight)
    (straight / "model_final.pth").write_bytes(b"")
    scramble(straight / NEWEST)
    trainer = train(config("straight"), resume=True)
    assert trainer.start_iter == STEPS - 1
    assert "model_final.pth is damaged and is skipped" in caplog.text
    assert f"{NEWEST} cannot be read and is skipped" in caplog.text
    assert_same(expected, weights(straight))


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (lambda note, newest: newest.write_bytes(newest.read_bytes()[:-100]), "model_0000001.pth"),
        (lambda note, newest: newest.write_bytes(b""), "model_0000001.pth"),
        (lambda note, newest: newest.unlink(), "model_0000001.pth"),
        (lambda note, newest: note.write_bytes(b""), NEWEST),
        (lambda note, newest: note.unlink(), NEWEST),
        (lambda note, newest: note.write_bytes(b"\xff\0"), NEWEST),
        (lambda note, newest: note.write_text("../elsewhere.pth"), NEWEST),
        (lambda note, newest: note.write_text("weights.pkl"), NEWEST),
    ],
    ids=["truncated", "empty", "gone", "empty note", "no note", "no text", "outside", "pickle"],
)
def test_the_newest_checkpoint_is_one_that_is_whole(straight, damage, found):
    (straight / "model_final.pth").unlink()
    (straight / "weights.pkl").touch()
    (straight.parent / "elsewhere.pth").touch()
    note = straight / "last_checkpoint"
    note.write_text(NEWEST)
    damage(note, straight / NEWEST)
    assert newest_checkpoint(straight) == straight / found


def test_a_run_without_a_checkpoint_that_can_be_read_is_said(config, straight):
    for path in straight.glob("model_*.pth"):
        scramble(path)
    with pytest.raises(ConfigError, match=r"cannot be resumed: .*model_final\.pth"):
        train(config("straight"), resume=True)


def test_a_complete_run_gets_what_it_lacks(config, straight):
    expected = weights(straight)
    stop_after(straight, STEPS - 1)
    train(config("straight"), resume=True)
    assert_same(expected, weights(straight))
    longer = train(config("straight", "SOLVER.MAX_ITER", STEPS + 1), resume=True)
    assert longer.start_iter == STEPS


def test_settings_of_the_optimizer_take_effect_when_a_run_is_resumed(config, straight):
    stop_after(straight, 0)
    keys = ("SOLVER.BASE_LR", 0.0625, "SOLVER.WEIGHT_DECAY", 0.5, "SOLVER.MOMENTUM", 0.25)
    resumed, new = Trainer(config("straight", *keys)), Trainer(config("new", *keys))
    resumed.resume_or_load(resume=True)
    assert resumed.start_iter == 1
    new.scheduler.step()

    def settings(trainer):
        return [
            {k: v for k, v in g.items() if k != "params"} for g in trainer.optimizer.param_groups
        ]

    assert settings(resumed) == settings(new)
    assert resumed.scheduler.base_lrs == new.scheduler.base_lrs


def test_settings_that_make_another_optimizer_are_refused(config, straight):
    resumed = Trainer(config("straight", "SOLVER.BIAS_LR_FACTOR", 2.0))
    with pytest.raises(ConfigError, match=r"groups of parameters .*keys under SOLVER as they were"):
        resumed.resume_or_load(resume=True)


def test_without_a_random_seed_the_order_of_images_goes_on_too(config):
    first = Trainer(config("run", "SEED", -1, "SOLVER.MAX_ITER", 1, "SOLVER.STEPS", "()"))
    first.train()
    second = Trainer(config("run", "SEED", -1))
    assert second.progress.seed != first.progress.seed
    second.resume_or_load(resume=True)
    assert second.progress.seed == first.progress.seed


def test_a_training_that_diverges_is_told_in_one_line(config, caplog, tmp_path):
    keys = ("SOLVER.BASE_LR", 1e8, "SOLVER.WARMUP_ITERS", 0)
    with pytest.raises(TrainingError, match=r"at iteration \d: the training diverges\. Lower SOL"):
        train(config("run", *keys))
    assert "Traceback" not in caplog.text
    assert not (tmp_path / "run" / "inference").exists()
    assert not (tmp_path / "run" / "model_final.pth").exists()


def test_checkpoints_of_before_it_diverged_are_kept(config, monkeypatch, tmp_path):
    folder = tmp_path / "run"
    step = Trainer.run_step

    def ruin(self):
        step(self)
        if self.iter == 1:  # finite, but nothing comes of it any more
            with torch.no_grad():
                for parameter in self.model.parameters():
                    parameter.mul_(1e30)

    monkeypatch.setattr(Trainer, "run_step", ruin)
    with pytest.raises(TrainingError, match=r"good checkpoint: .*model_0000000\.pth, from which"):
        train(config("run"))
    assert newest_checkpoint(folder) == folder / "model_0000000.pth"
    assert (folder / "model_0000001.diverged").is_file()
    monkeypatch.setattr(Trainer, "run_step", step)
    assert train(config("run"), resume=True).start_iter == 1


def test_weights_that_are_not_finite_are_not_saved(config, monkeypatch, tmp_path):
    step = Trainer.run_step

    def ruin(self):
        step(self)
        if self.iter == STEPS - 1:
            with torch.no_grad():
                next(self.model.parameters()).fill_(float("nan"))

    monkeypatch.setattr(Trainer, "run_step", ruin)
    with pytest.raises(TrainingError, match=r"weight became infinite or NaN at iteration 2"):
        train(config("run"))
    assert newest_checkpoint(tmp_path / "run").name == "model_0000001.pth"
    assert not (tmp_path / "run" / "inference").exists()


def test_a_full_disk_leaves_the_checkpoint_before(config, straight, monkeypatch):
    stop_after(straight, 1)
    before = {p.name for p in straight.iterdir()}

    def fill(content, file):
        file.write(b"a part")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", fill)
    with pytest.raises(TrainingError, match=r"No space left.*model_0000001\.pth, from which"):
        train(config("straight"), resume=True)
    assert not [p for p in straight.iterdir() if p.name.endswith(".tmp")]
    assert {p.name for p in straight.glob("model*")} <= before


def test_the_log_of_a_resumed_run_has_each_iteration_once(config, straight):
    lines = [json.loads(line) for line in (straight / "metrics.json").read_text().splitlines()]
    assert len({line["iteration"] for line in lines}) == len(lines)


@pytest.mark.slow
def test_a_training_that_is_killed_while_it_writes_goes_on(config, straight, tmp_path):
    expected, rng = weights(straight), random.Random(0)
    fork = multiprocessing.get_context("fork")
    killed = 0
    for number in range(50):
        cfg = config(f"run_{number}")
        child = fork.Process(target=train, args=(cfg,))
        child.start()
        _wait_for_writing(Path(cfg.OUTPUT_DIR), child, rng.randrange(1, 2 * STEPS + 2))
        time.sleep(rng.uniform(0, 0.02))
        child.kill()  # SIGKILL
        child.join()
        killed += child.exitcode == -signal.SIGKILL
        child = fork.Process(target=train, args=(cfg, True))
        child.start()
        child.join()
        assert child.exitcode == 0
        assert_same(expected, weights(Path(cfg.OUTPUT_DIR)))
        shutil.rmtree(cfg.OUTPUT_DIR)
    assert killed > 40


def _wait_for_writing(folder: Path, child, times: int) -> None:
    """Until a file is being written for the n-th time, or the child has ended."""
    seen: set[str] = set()
    while child.is_alive():
        now = {path.name for path in folder.glob(".*.tmp")}
        times -= len(now - seen)
        seen = now
        if times <= 0:
            return
        time.sleep(0.0005)
