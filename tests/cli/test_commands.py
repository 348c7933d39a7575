"""The command semiconv: what it lists, how it hands on, and how it ends."""

import subprocess
import sys
from pathlib import Path

import pytest

import semiconv_d2
from semiconv_d2 import cli
from semiconv_d2.cli.commands import finish
from semiconv_d2.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
LIGHT = ("check", "predict", "export", "evaluate", "convert", "prepare", "report", "benchmark")


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], []])
def test_every_command_is_listed(arguments, capsys):
    assert cli.main(arguments) == (0 if arguments else 2)
    out = capsys.readouterr().out
    for name, text in cli.COMMANDS.items():
        assert f"{name} " in out
        assert text in out


def test_an_unknown_command_is_named(capsys):
    assert cli.main(["traim"]) == 2
    assert capsys.readouterr().err.startswith("error: semiconv has no command 'traim'")


def test_the_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"semiconv_d2 {semiconv_d2.__version__}\n"


def test_a_module_of_the_user_s_is_imported_first(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "semiconv_test_project.py").write_text("print('imported')\n")
    monkeypatch.setattr(sys, "path", sys.path[:])
    assert cli.main(["--import", "semiconv_test_project", "--help"]) == 0
    assert capsys.readouterr().out.startswith("imported\nSemi-convolutional")
    assert cli.main(["--import", "semiconv_test_nowhere", "check"]) == 1
    assert "--import semiconv_test_nowhere: there is no such module" in capsys.readouterr().err
    assert cli.main(["--import"]) == 1
    sys.modules.pop("semiconv_test_project")


def test_every_module_here_is_a_command_or_helps_them():
    modules = {path.stem for path in (ROOT / "semiconv_d2" / "cli").glob("*.py")}
    assert modules == {*cli.COMMANDS, "__init__", "commands", "drawing"}


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_names_the_command_as_it_was_called(command):
    """In a process of its own, and without Detectron2 where nothing needs it."""
    code = (
        "import sys\nfrom semiconv_d2 import cli\nsys.argv[0] = 'semiconv'\n"
        f"try:\n    cli.main([{command!r}, '--help'])\nexcept SystemExit:\n    pass\n"
        "print('detectron2' in sys.modules)"
    )
    said = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True
    )
    assert f"usage: semiconv {command}" in said.stdout, said.stderr
    assert said.stdout.endswith(f"{command not in LIGHT}\n")


def test_errors_of_people_are_one_line(capsys):
    def fail(error):
        raise error

    assert finish(lambda: None) == 0
    assert finish(lambda: 3) == 3
    for error, said in (
        (ConfigError("no such key"), "error: no such key\n"),
        (OSError("disk full"), "error: disk full\n"),
        (KeyboardInterrupt(), "error: stopped\n"),
        (ModuleNotFoundError("No module", name="cv2"), "error: No module; install it with: pip"),
    ):
        assert finish(lambda error=error: fail(error), "stopped") == 1
        assert capsys.readouterr().err.startswith(said)
    with pytest.raises(ZeroDivisionError):  # a bug is shown with its place
        finish(lambda: 1 / 0)
