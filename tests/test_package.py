"""The package as others get it: without Detectron2, and as a wheel in an empty environment."""

import os
import shutil
import subprocess
import sys
import venv
from email import message_from_string
from importlib.metadata import version
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image

from semiconv_d2 import cli

ROOT = Path(__file__).resolve().parent.parent
NEEDS_DETECTRON2 = ("SemiConvROIHeads", "SemiConvMixin", "add_semiconv_config", "Predictor")


def run(python: str | Path, code: str, **env: str) -> str:
    """Output of a piece of Python that must end well, run away from the repository."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | env
    result = subprocess.run(
        [str(python), "-W", "ignore", "-c", code],
        cwd=Path(sys.prefix),
        env=environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


HIDE = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import importlib.abc
class Hidden(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in HIDDEN:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: (
    None if name.split(".")[0] in HIDDEN else found(name, package)
)
sys.meta_path.insert(0, Hidden())
"""


def test_ops_work_without_detectron2():
    out = run(
        sys.executable,
        "HIDDEN = {'detectron2', 'fvcore', 'cv2'}"
        + HIDE
        + "import torch, semiconv_d2\nfrom semiconv_d2 import ops\n"
        "print(ops.mix(torch.zeros(8, 3, 4), ops.map_coordinates(3, 4)).shape)\n"
        "print(semiconv_d2.get_config_file('voc_semiconv'))",
    )
    assert out.splitlines() == [
        "torch.Size([8, 3, 4])",
        str(ROOT / "configs" / "voc_semiconv.yaml"),
    ]


@pytest.mark.parametrize("name", NEEDS_DETECTRON2)
def test_names_that_need_detectron2_say_how_to_get_it(name):
    out = run(
        sys.executable,
        "HIDDEN = {'detectron2'}" + HIDE + "import semiconv_d2\n"
        f"try:\n    from semiconv_d2 import {name}\n"
        "except ImportError as error:\n    print(error)",
    )
    assert out.startswith(f"semiconv_d2.{name} needs Detectron2, which is not installed.")
    assert "pip install --no-build-isolation 'git+https://github.com/" in out


def test_importing_registers_everything_and_needs_no_opencv():
    out = run(
        sys.executable,
        "HIDDEN = {'cv2'}" + HIDE + "import semiconv_d2\n"
        "from detectron2.modeling.roi_heads import ROI_HEADS_REGISTRY as heads\n"
        "from detectron2.data import DatasetCatalog as datasets\n"
        "import semiconv_d2.training\n"
        "print('SemiConvROIHeads' in heads, 'SemiConvCascadeROIHeads' in heads,"
        "      'voc_2012_instance_train' in datasets)",
    )
    assert out == "True True True"


def test_an_unknown_name_is_an_attribute_error():
    import semiconv_d2

    with pytest.raises(AttributeError, match="no attribute 'SemiConv'"):
        _ = semiconv_d2.SemiConv


@pytest.fixture(scope="module")
def distributions(tmp_path_factory) -> tuple[Path, Path]:
    """Wheel and source distribution, built from a copy so that nothing is left behind here."""
    folder = tmp_path_factory.mktemp("build")
    source = folder / "source"
    ignore = shutil.ignore_patterns(
        ".git", ".venv*", "output", "*.egg-info", "build", "dist", ".*_cache"
    )
    shutil.copytree(ROOT, source, ignore=ignore, symlinks=True)
    code = (
        "from setuptools import build_meta as b; "
        f"print(b.build_sdist({str(folder)!r})); print(b.build_wheel({str(folder)!r}))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=source, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    [wheel], [sdist] = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist


def test_installing_never_touches_torch_or_detectron2(distributions):
    wheel, _ = distributions
    with ZipFile(wheel) as archive:
        [name] = [n for n in archive.namelist() if n.endswith("/METADATA")]
        metadata = message_from_string(archive.read(name).decode())
    required = [r for r in metadata.get_all("Requires-Dist") if "extra ==" not in r]
    assert required == ["numpy", "tifffile"]
    everything = " ".join(metadata.get_all("Requires-Dist"))
    assert not any(name in everything for name in ("torch", "detectron2"))
    assert metadata["License-Expression"] == "Apache-2.0"


def test_the_wheel_in_an_empty_environment(distributions, tmp_path):
    wheel, _ = distributions
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    site = run(python, "import sysconfig; print(sysconfig.get_paths()['purelib'])")
    with ZipFile(wheel) as archive:
        archive.extractall(site)
    # Nothing else is there: neither NumPy nor PyTorch nor Detectron2.
    out = run(
        python,
        "import semiconv_d2; print(semiconv_d2.get_config_file('voc_semiconv'))\n"
        "print(semiconv_d2.get_config_file('lazy/voc_semiconv.py'))\n"
        "try:\n    semiconv_d2.SemiConvROIHeads\nexcept ImportError as error:\n    print(error)",
    )
    yaml, lazy, error = out.splitlines()
    assert Path(yaml) == Path(site, "semiconv_d2/configs/voc_semiconv.yaml")
    assert Path(lazy).is_file()
    assert "needs Detectron2" in error


def test_the_wheel_builds_its_model_beside_detectron2(distributions, tmp_path):
    """Unpacked elsewhere, with this environment's packages but not its editable install."""
    wheel, _ = distributions
    with ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    out = run(
        sys.executable,
        "import semiconv_d2; from detectron2.modeling import build_model\n"
        "from semiconv_d2.training import load_config\n"
        "cfg = load_config(semiconv_d2.get_config_file('demo_semiconv'))\n"
        "print(semiconv_d2.__file__); print(type(build_model(cfg).roi_heads).__name__)",
        PYTHONPATH=str(tmp_path),
    )
    file, heads = out.splitlines()
    assert Path(file).is_relative_to(tmp_path)
    assert heads == "SemiConvROIHeads"


QUICK = (
    "INPUT.MIN_SIZE_TRAIN", "(96,)", "INPUT.MIN_SIZE_TEST", "96", "MODEL.WEIGHTS", "",
    "SOLVER.IMS_PER_BATCH", "2", "SOLVER.MAX_ITER", "1", "OUTPUT_DIR", "run",
)  # fmt: skip
COMMANDS = (
    (("prepare", "synthetic_worms", "--train-images", 3, "--val-images", 2), "wrote 5 images"),
    (("check", "datasets/synthetic_worms/val.json", "datasets/synthetic_worms/images"),
     "errors: 0"),
    (("convert", "labels", "images", "labels", "--output", "own"), "wrote 2 images"),
    (("train", "--config-file", "demo_semiconv", *QUICK), "mask AP"),
    (("predict", "--model", "run", "--input", "images", "--json", "found.json", "--labels", "out",
      "--score-threshold", 0), "2 of 2 inputs"),
    (("evaluate", "synthetic_worms_val", "run/inference/coco_instances_results.json"), "mask AP"),
    (("export", "run", "--format", "torchscript", "--output", "new/model.ts", "--images",
      "images/a.png"), "differences from PyTorch"),
    (("report", "run", "--resamples", 0), "wrote report.html"),
    (("benchmark", "--config-file", "demo_semiconv", "--sizes", 96, "--masks", 2, "--crowded",
      "--resolutions", 28, "--repeats", 1), "training step"),
)  # fmt: skip


@pytest.mark.slow
def test_every_command_of_the_wheel_works_without_a_clone(distributions, tmp_path):
    """One after the other, in an empty folder, with this environment's packages."""
    wheel, _ = distributions
    with ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
        for name in "ab":
            pixels = np.zeros((40, 50), dtype=np.uint8)
            pixels[5:20, 5:20], pixels[22:35, 22:45] = 1, 2
            Image.fromarray(pixels).save(tmp_path / folder / f"{name}.png")
    assert {command[0] for command, _ in COMMANDS} == set(cli.COMMANDS)
    for command, said in COMMANDS:
        result = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "semiconv_d2", *map(str, command)],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(tmp_path / "site")},
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, (command, result.stderr)
        assert said in result.stdout, (command, result.stdout)


def test_the_source_distribution_builds_the_same_wheel(distributions, tmp_path):
    wheel, sdist = distributions
    shutil.unpack_archive(sdist, tmp_path)
    [source] = tmp_path.iterdir()
    code = f"from setuptools import build_meta as b; b.build_wheel({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=source, check=True, capture_output=True)
    [again] = tmp_path.glob("*.whl")
    with ZipFile(wheel) as a, ZipFile(again) as b:
        assert sorted(a.namelist()) == sorted(b.namelist())
    assert (source / "tests" / "test_package.py").is_file()
    assert (source / "tools" / "train_net.py").is_file()


def test_detectron2_has_true_metadata():
    assert version("detectron2").startswith("0.6")
