"""InstanceColoring through the tools, from the command line to the files that they leave."""

import json

import numpy as np
import pytest
from PIL import Image

from semiconv_d2.data.coco.coco_json import CocoImage, build_coco
from semiconv_d2.writing import write_json

CONFIG = "configs/demo_coloring.yaml"
QUICK = (
    "INPUT.MIN_SIZE_TRAIN", "(96,)", "INPUT.MIN_SIZE_TEST", "96",
    "SOLVER.IMS_PER_BATCH", "2", "SOLVER.BASE_LR", "0.001", "MODEL.WEIGHTS", "",
)  # fmt: skip


def test_trains_resumes_evaluates_and_draws(run_tool, tmp_path):
    """One story: every step starts from what the last one left."""
    base = ("--config-file", CONFIG)
    keys = (*QUICK, "OUTPUT_DIR", tmp_path)
    status, out, err = run_tool("tools/train_net.py", *base, *keys, "SOLVER.MAX_ITER", 2)
    assert status == 0, err
    results = json.loads((tmp_path / "inference" / "coco_instances_results.json").read_text())
    assert results
    assert all(0 <= r["score"] <= 1 for r in results)

    status, out, err = run_tool(
        "tools/train_net.py", *base, "--resume", *keys, "SOLVER.MAX_ITER", 20
    )
    assert status == 0, err
    assert "Starting training from iteration 2" in out
    metrics = [json.loads(line) for line in (tmp_path / "metrics.json").read_text().splitlines()]
    assert {"loss_embedding", "loss_kernel", "semiconv/sigma", "segm/AP"} <= set().union(*metrics)

    keys = (*keys, "MODEL.WEIGHTS", tmp_path / "model_final.pth")
    status, out, err = run_tool("tools/train_net.py", *base, "--eval-only", *keys)
    assert status == 0, err
    assert "mask AP" in out

    views = tmp_path / "views"
    status, out, err = run_tool(
        "tools/view_coloring.py", *base, "--output", views, "--images", 1,
        "--opts", *keys, "EVALUATION.SCORE_THRESHOLD", 0.0,
    )  # fmt: skip
    assert status == 0, err
    centres = json.loads((views / "centres.json").read_text())["centres"]
    assert f"{len(centres)} instances." in out
    for name in ("best.png", "worst.png", "centres.png"):
        assert np.asarray(Image.open(views / name)).std() > 10


@pytest.fixture
def extremes(tmp_path):
    """Images without foreground, filled with it, and with two squares; overrides that name them."""
    square = np.zeros((96, 96), dtype=bool)
    square[10:40, 10:40] = True
    masks = {"empty": [], "full": [np.ones_like(square)], "squares": [square, square[::-1]]}
    images = []
    for name, instances in masks.items():
        picture = np.any([np.zeros_like(square), *instances], axis=0)
        Image.fromarray(np.uint8(picture) * 255).save(tmp_path / f"{name}.png")
        images.append(CocoImage(f"{name}.png", 96, 96, [(m, 1) for m in instances]))
    write_json(build_coco(images, ("thing",)), tmp_path / "all.json")
    return (
        "OWN_DATA.TRAIN_JSON", tmp_path / "all.json", "OWN_DATA.TRAIN_IMAGES", tmp_path,
        "OWN_DATA.TEST_JSON", tmp_path / "all.json",
        "DATALOADER.FILTER_EMPTY_ANNOTATIONS", False,
    )  # fmt: skip


@pytest.mark.parametrize("foreground", ["image", "learned"])
def test_images_without_foreground_and_filled_with_it(run_tool, extremes, tmp_path, foreground):
    status, _, err = run_tool(
        "tools/train_net.py", "--config-file", CONFIG, *QUICK, *extremes,
        "OUTPUT_DIR", tmp_path / "out", "MODEL.COLORING.FOREGROUND", foreground,
        "SOLVER.IMS_PER_BATCH", 1, "SOLVER.MAX_ITER", 6,
    )  # fmt: skip
    assert status == 0, err
    results = (tmp_path / "out" / "inference" / "coco_instances_results.json").read_text()
    found = {r["image_id"] for r in json.loads(results)}
    if foreground == "image":
        assert found == {2, 3}  # nothing in the image without foreground


@pytest.mark.parametrize(
    ("config", "overrides", "message"),
    [
        ("configs/demo_semiconv.yaml", (), "only InstanceColoring"),
        (CONFIG, ("MODEL.SEMICONV.MIXING", "none"), "MODEL.SEMICONV.MIXING is 'none'"),
        (CONFIG, ("MODEL.WEIGHTS", "gone.pth"), "MODEL.WEIGHTS is gone.pth"),
        (CONFIG, ("MODEL.WEIGHTS", ""), "MODEL.WEIGHTS is empty"),
        (CONFIG, ("DATASETS.TEST", "()"), "DATASETS.TEST is empty"),
        (
            CONFIG,
            ("MODEL.WEIGHTS", "checkpoints/demo_mask_rcnn.pth"),
            "of the model's parameters, such as embedding_head",
        ),
    ],
)
def test_what_cannot_be_drawn_says_so_in_one_line(run_tool, tmp_path, config, overrides, message):
    status, _, err = run_tool(
        "tools/view_coloring.py", "--config-file", config, "--output", tmp_path / "out",
        "--opts", *overrides,
    )  # fmt: skip
    assert status == 1
    assert message in err
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()
