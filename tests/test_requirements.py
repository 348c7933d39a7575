"""The set-up: the lock, the repacked Detectron2, and what the environment script refuses."""

import hashlib
import importlib.util
import os
import re
import subprocess
import sys
from email import message_from_string
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / "requirements"


@pytest.fixture(scope="module")
def repack():
    spec = importlib.util.spec_from_file_location("repack", REQUIREMENTS / "repack_detectron2.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.repack


@pytest.fixture
def redistributed(tmp_path) -> Path:
    """A wheel with all that is wrong with the redistribution."""
    path = tmp_path / "sal_detectron2-0.7.2-cp310-none-any.whl"
    with ZipFile(path, "w") as wheel:
        wheel.writestr("detectron2/__init__.py", '__version__ = "0.7.2"\n')
        wheel.writestr("detectron2/model_zoo/configs/Base.yaml", "A: 1\n")
        wheel.writestr("detectron2/_C.cpython-310-x86_64-linux-gnu.so", b"\x7fELF")
        wheel.writestr("tools/train_net.py", "shadows = True\n")
        wheel.writestr("sal_detectron2-0.7.2.dist-info/LICENSE", "Apache\n")
        wheel.writestr("sal_detectron2-0.7.2.dist-info/METADATA", "Name: sal-detectron2\n")
    return path


def test_repacking_keeps_detectron2_alone(repack, redistributed, tmp_path):
    with ZipFile(repack(redistributed, tmp_path)) as wheel:
        names = set(wheel.namelist())
        info = "detectron2-0.6+main.a59f0563.dist-info"
        assert names == {
            "detectron2/__init__.py",
            "detectron2/model_zoo/configs/Base.yaml",
            *(f"{info}/{name}" for name in ("LICENSE", "METADATA", "RECORD", "WHEEL")),
        }
        assert wheel.read("detectron2/__init__.py") == b'__version__ = "0.6"\n'
        metadata = message_from_string(wheel.read(f"{info}/METADATA").decode())
        recorded = [line.split(",")[0] for line in wheel.read(f"{info}/RECORD").decode().split()]
    assert (metadata["Name"], metadata["Version"]) == ("detectron2", "0.6+main.a59f0563")
    assert not any("numpy<2" in r or "black" in r for r in metadata.get_all("Requires-Dist"))
    assert set(recorded) == names


def test_repacking_gives_the_same_bytes_every_time(repack, redistributed, tmp_path):
    digests = set()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        os.utime(redistributed, (0, 0))
        wheel = repack(redistributed, tmp_path / name)
        digests.add(hashlib.sha256(wheel.read_bytes()).hexdigest())
    assert len(digests) == 1


@pytest.mark.parametrize("name", ["build.txt", "lock.txt", "detectron2.txt"])
def test_everything_is_pinned_with_hashes_and_from_no_place_in_particular(name):
    text = (REQUIREMENTS / name).read_text()
    requirements = re.sub(r"\\\n", " ", text)
    lines = [
        line for line in requirements.splitlines() if line and not line.lstrip().startswith("#")
    ]
    assert lines
    assert all(re.match(r"[\w.-]+==[\w.]+ ", line) and "--hash=sha256:" in line for line in lines)
    assert "://" not in text
    assert "index" not in text


def run_environment(*arguments, **env) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(REQUIREMENTS / "environment.py"), *map(str, arguments)],
        env=os.environ | env,
        capture_output=True,
        text=True,
    )


def test_an_environment_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / "pyvenv.cfg").write_text("home = /usr/bin\n")
    result = run_environment(tmp_path)
    assert result.returncode == 1
    assert "was not made by this project" in result.stderr
    assert f"PYTHON={tmp_path}/bin/python make" in result.stderr
    assert result.stdout == ""
    assert [p.name for p in tmp_path.iterdir()] == ["pyvenv.cfg"]


def test_an_environment_that_is_ready_is_only_named(tmp_path):
    spec = importlib.util.spec_from_file_location("environment", REQUIREMENTS / "environment.py")
    environment = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(environment)
    python = tmp_path / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    python.parent.mkdir()
    python.touch()
    for detectron2 in ("wheel", "github"):  # the choice is remembered
        (tmp_path / "semiconv_d2.stamp").write_text(f"{detectron2} {environment.fingerprint()}")
        result = run_environment(tmp_path)
        assert result.returncode == 0
        assert result.stdout == f"{python}\n"
        assert result.stderr == ""
