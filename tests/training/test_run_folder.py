"""The folder of a run is neither mixed with another run nor lost."""

from __future__ import annotations

import os
import zipfile

import pytest

import semiconv_d2
from semiconv_d2.errors import ConfigError
from semiconv_d2.training import load_config
from semiconv_d2.training.run_folder import check_run_folder, checkpoint_of, config_kept, locked

DEMO = semiconv_d2.get_config_file("demo_semiconv")


def config(folder, *overrides):
    return load_config(DEMO, ["OUTPUT_DIR", str(folder), *overrides])


def left_by_a_run(folder, cfg):
    """The files that matter of a training that was interrupted."""
    (folder / "config.yaml").write_text(cfg.dump())
    with zipfile.ZipFile(folder / "model_0000499.pth", "w"):  # all that is looked at here
        pass
    (folder / "last_checkpoint").write_text("model_0000499.pth")


@pytest.mark.parametrize("name", ["last_checkpoint", "model_final.pth", "metrics.json"])
def test_two_trainings_are_not_mixed(tmp_path, name):
    check_run_folder(config(tmp_path / "new"), resume=False)
    (tmp_path / name).touch()
    check_run_folder(config(tmp_path), resume=False)  # of a training that took no step
    (tmp_path / name).write_text("0")
    with pytest.raises(ConfigError, match=r"already holds a run.*--resume.*OUTPUT_DIR FOLD"):
        check_run_folder(config(tmp_path), resume=False)
    check_run_folder(config(tmp_path), resume=False, eval_only=True)


def test_a_folder_that_cannot_be_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"OUTPUT_DIR .*is a file; name a folder"):
        check_run_folder(config(tmp_path / "file" / "run"), resume=False)


def test_what_is_resumed_is_the_same_model(tmp_path):
    left_by_a_run(tmp_path, config(tmp_path))
    longer = ("SOLVER.MAX_ITER", 9, "MODEL.WEIGHTS", "other.pth")
    check_run_folder(config(tmp_path, *longer), resume=True)
    other = config(tmp_path, "MODEL.SEMICONV.EMBEDDING_DIM", 4)
    with pytest.raises(ConfigError, match=r"MODEL\.SEMICONV\.EMBEDDING_DIM is 4 and was 8"):
        check_run_folder(other, resume=True)
    # Evaluated, it may decode or rescore in another way; weights that do not fit are found then.
    check_run_folder(other, resume=True, eval_only=True)


def test_a_config_of_another_version_is_no_obstacle(tmp_path):
    left_by_a_run(tmp_path, config(tmp_path))
    (tmp_path / "config.yaml").write_text("MODEL: {SEMICONV: {NO_LONGER_THERE: 1}}")
    check_run_folder(config(tmp_path), resume=True)


@pytest.mark.parametrize("text", ["", "MODEL", "MODEL: 3", "a: b: c", "\0"])
def test_a_damaged_config_is_no_obstacle(tmp_path, text, caplog):
    left_by_a_run(tmp_path, config(tmp_path))
    (tmp_path / "config.yaml").write_text(text)
    check_run_folder(config(tmp_path), resume=True)
    assert "config.yaml is damaged and will be overwritten" in caplog.text


def test_nothing_to_resume_is_said(tmp_path, caplog):
    caplog.set_level("INFO")
    check_run_folder(config(tmp_path), resume=True)
    assert "nothing to resume" in caplog.text
    left_by_a_run(tmp_path, config(tmp_path))
    (tmp_path / "model_0000499.pth").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"nothing to resume: .* has no undamaged checkpoint"):
        check_run_folder(config(tmp_path), resume=True)


def test_a_folder_is_for_one_process(tmp_path):
    (tmp_path / ".model_final.pth.123.tmp").touch()
    with locked(tmp_path / "run"):
        with (
            pytest.raises(ConfigError, match=rf"is in use by process {os.getpid()}: wait for it"),
            locked(tmp_path / "run"),
        ):
            pass
        with locked(tmp_path):
            pass
    with locked(tmp_path / "run"):
        pass
    assert not list(tmp_path.glob(".*"))


def test_evaluation_takes_the_newest_checkpoint_where_it_is_told_to(tmp_path):
    cfg = config(tmp_path, "MODEL.WEIGHTS", "given.pth")
    assert checkpoint_of(cfg, resume=True) == "given.pth"
    left_by_a_run(tmp_path, cfg)
    assert checkpoint_of(cfg, resume=True) == str(tmp_path / "model_0000499.pth")
    assert checkpoint_of(cfg, resume=False) == "given.pth"


def test_evaluation_leaves_the_config_of_a_run(tmp_path):
    cfg = config(tmp_path)
    left_by_a_run(tmp_path, cfg)
    before = (tmp_path / "config.yaml").read_text()
    with config_kept(cfg):
        (tmp_path / "config.yaml").write_text("another")
    assert (tmp_path / "config.yaml").read_text() == before
    with config_kept(config(tmp_path / "new")):
        pass
    assert not (tmp_path / "new").exists()
