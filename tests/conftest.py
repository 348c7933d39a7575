"""Real data where it can be found, the same random numbers in every test, a prepared dataset, and
the commands as users run them."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import runpy
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]

QUICK = (
    "INPUT.MIN_SIZE_TRAIN", "(96,)", "INPUT.MIN_SIZE_TEST", "96",
    "SOLVER.IMS_PER_BATCH", "2", "SOLVER.BASE_LR", "0.001",
    "MODEL.RPN.POST_NMS_TOPK_TRAIN", "30", "MODEL.RPN.POST_NMS_TOPK_TEST", "10",
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", "16", "TEST.DETECTIONS_PER_IMAGE", "10",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def _real_data(name: str) -> Path:
    root = Path(os.environ.get("SEMICONV_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not (root / name).is_dir():
        pytest.skip(f"no real data: set SEMICONV_TEST_DATA to the folder that has {name}")
    return root / name


@pytest.fixture(scope="session")
def real_voc() -> Path:
    return _real_data("VOC2007_subset")


@pytest.fixture(scope="session")
def real_bbbc010() -> Path:
    return _real_data("BBBC010")


@pytest.fixture(scope="session")
def real_cvppp_a1() -> Path:
    return _real_data("CVPPP_A1")


@pytest.fixture(scope="session")
def real_coco_tiny() -> Path:
    return _real_data("coco_tiny")


@pytest.fixture(scope="session")
def datasets_folder(tmp_path_factory) -> Path:
    """A folder of all datasets with a few synthetic worms."""
    from semiconv_d2.data.datasets.synthetic_worms import prepare_synthetic_worms

    folder = tmp_path_factory.mktemp("datasets")
    prepare_synthetic_worms(folder / "synthetic_worms", train_images=6, val_images=5)
    return folder


@pytest.fixture(scope="session")
def quick() -> tuple[str, ...]:
    """Overrides that make the demo's model small and quick enough for a test."""
    return QUICK


@pytest.fixture
def run_tool(datasets_folder):
    """Runs a script of the repository as if it were started anew, in the test's own process;
    returns status, stdout and stderr."""

    def run(script: str, *arguments, cwd: Path = ROOT) -> tuple[int, str, str]:
        argv = [str(ROOT / script), *map(str, arguments)]
        out, err = io.StringIO(), io.StringIO()
        status = 0
        with (
            _as_started_anew(argv, cwd, datasets_folder),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            try:
                runpy.run_path(argv[0], run_name="__main__")
            except SystemExit as end:
                status = end.code or 0
        return status, out.getvalue(), err.getvalue()

    return run


@contextlib.contextmanager
def _as_started_anew(argv: list[str], cwd: Path, datasets: Path) -> Iterator[None]:
    """What a process has for itself is put back in the end: arguments, folder, paths of modules,
    filters of warnings, log handlers, and Detectron2's catalogs."""
    from detectron2.data import DatasetCatalog, MetadataCatalog

    from semiconv_d2.data import register_prepared_datasets

    before = (sys.argv, os.getcwd(), sys.path[:], os.environ.copy())
    catalogs = (DatasetCatalog.data, MetadataCatalog.data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            sys.argv = argv
            sys.path.insert(0, str(Path(argv[0]).parent))
            os.chdir(cwd)
            os.environ["DETECTRON2_DATASETS"] = str(datasets)
            DatasetCatalog.data, MetadataCatalog.data = {}, {}
            register_prepared_datasets()
            _forget_log_handlers()
            yield
        finally:
            _forget_log_handlers()
            DatasetCatalog.data, MetadataCatalog.data = catalogs
            sys.argv, folder, sys.path[:], environment = before
            os.chdir(folder)
            os.environ.clear()
            os.environ.update(environment)


def _forget_log_handlers() -> None:
    """Those that Detectron2 has set up: they write to the standard output of their time."""
    from detectron2.utils.logger import setup_logger

    logging.disable(logging.NOTSET)
    setup_logger.cache_clear()
    for name in ("detectron2", "fvcore", "semiconv_d2"):
        logger = logging.getLogger(name)
        for handler in logger.handlers[:]:
            logger.removeHandler(handler)
        logger.propagate = True
