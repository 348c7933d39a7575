"""`tools/drop_in.py` on a few images: what it prints, writes and refuses."""

import json

import numpy as np
import pytest
import torch
from detectron2.modeling import build_model
from PIL import Image

import semiconv_d2
from experiments.attaching import (
    PAPER,
    SEMICONV,
    STOCK,
    Row,
    draw_twins,
    format_rows,
    read_rows,
    time_per_image,
)
from semiconv_d2.errors import ConfigError
from semiconv_d2.training import load_config, register_own_data


@pytest.fixture
def stock_checkpoint(tmp_path):
    torch.manual_seed(1)
    model = build_model(load_config(semiconv_d2.get_config_file("demo_mask_rcnn")))
    path = tmp_path / "stock.pth"
    torch.save({"model": model.state_dict()}, path)
    return path


def test_compares_before_and_after(run_tool, quick, stock_checkpoint, datasets_folder, tmp_path):
    output = tmp_path / "out"
    status, out, err = run_tool(
        "tools/drop_in.py", "--config-file", "configs/demo_semiconv.yaml", "--output", output,
        "--sigmas", 5, 20, "--opts", "MODEL.WEIGHTS", stock_checkpoint, *quick,
        "SOLVER.MAX_ITER", 3, "MODEL.ROI_HEADS.SCORE_THRESH_TEST", 0.0,
    )  # fmt: skip
    assert status == 0, err
    gain = json.loads((output / "drop_in.json").read_text())["gain"]
    assert gain["difference"] == pytest.approx(gain["b"] - gain["a"])
    assert gain["low"] <= gain["difference"] <= gain["high"]
    assert f"SemiConv gains {gain['difference']:+.1f}; 95 % interval" in out
    rows = read_rows(json.loads((output / "drop_in.json").read_text()))
    assert [r.model for r in rows] == [
        "stage 1: stock Mask R-CNN",
        "SemiConv, just attached",
        "just attached, s + log K, σ = 5",
        "just attached, s + log K, σ = 20",
        "stock Mask R-CNN, fine-tuned",
        "SemiConv, fine-tuned",
    ]
    assert [(r.variant, r.tuned, r.sigma_init) for r in rows] == [
        (STOCK, False, None),
        (SEMICONV, False, 10),
        (PAPER, False, 5),
        (PAPER, False, 20),
        (STOCK, True, None),
        (SEMICONV, True, 10),
    ]
    stock, attached, paper_5, paper_20, _, tuned = rows
    assert (paper_5.sigma, paper_20.sigma) == (pytest.approx(5), pytest.approx(20))
    assert (paper_5.gain, paper_20.gain) == (1, 1)
    assert attached.ap == stock.ap  # exactly the stock model at the moment of attaching
    assert attached.gain == 0
    assert tuned.parameters > stock.parameters
    assert rows[-1].seconds_per_image > 0
    table = (output / "table.txt").read_text()
    assert table in out
    headers = ["model", "AP", "AP50", "AP75", "s/image", "parameters", "σ", "gain"]
    assert table.splitlines()[0].split() == headers
    assert len({len(line) for line in table.splitlines()}) == 1  # aligned
    picture = np.asarray(Image.open(output / "comparison.png"))
    assert picture.std() > 10
    data = datasets_folder / "synthetic_worms"
    cfg = load_config(
        "configs/demo_semiconv.yaml",
        [*map(str, quick), "MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.0",
         "OWN_DATA.TEST_JSON", str(data / "val.json"),
         "OWN_DATA.TEST_IMAGES", str(data / "images")],
    )  # fmt: skip
    register_own_data(cfg)
    weights = [output / name / "model_final.pth" for name in ("stock", "semiconv")]
    draw_twins(cfg, *weights, tmp_path / "again.png")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "again.png")), picture)
    assert "[5/9]" in err

    command = next(line for line in out.splitlines() if "semiconv report" in line)
    words = command.partition("semiconv ")[2].split()
    assert words[1:3] == [str(output / name) for name in ("stock", "semiconv")]
    status, _, err = run_tool("semiconv_d2/__main__.py", *words)
    assert status == 0, err
    assert "<html" in (output / "report.html").read_text()


@pytest.mark.parametrize("heads", ["StandardROIHeads", "UnheardOfROIHeads"])
def test_heads_that_are_not_ours_are_refused(run_tool, stock_checkpoint, tmp_path, heads):
    status, _, err = run_tool(
        "tools/drop_in.py", "--config-file", "configs/demo_semiconv.yaml",
        "--output", tmp_path / "out", "--opts", "MODEL.WEIGHTS", stock_checkpoint,
        "MODEL.ROI_HEADS.NAME", heads,
    )  # fmt: skip
    assert status == 1
    assert f"error: MODEL.ROI_HEADS.NAME is {heads}" in err
    assert not (tmp_path / "out").exists()


def test_measures_without_ap_are_refused(run_tool, stock_checkpoint, tmp_path):
    status, _, err = run_tool(
        "tools/drop_in.py", "--config-file", "configs/demo_semiconv.yaml",
        "--output", tmp_path / "out", "--opts", "MODEL.WEIGHTS", stock_checkpoint,
        "EVALUATION.MEASURES", "('s',)",
    )  # fmt: skip
    assert status == 1
    assert "EVALUATION.MEASURES must have 'coco'" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("DATASETS.TEST", "()"), "error: DATASETS.TEST is empty"),
        (("MODEL.WEIGHTS", ""), "error: MODEL.WEIGHTS is empty"),
    ],
)
def test_what_cannot_be_compared_says_so(run_tool, stock_checkpoint, tmp_path, overrides, message):
    status, _, err = run_tool(
        "tools/drop_in.py", "--config-file", "configs/demo_semiconv.yaml",
        "--output", tmp_path / "out", "--opts", "MODEL.WEIGHTS", stock_checkpoint, *overrides,
    )  # fmt: skip
    assert status == 1
    assert message in err
    assert not (tmp_path / "out").exists()


def test_stage_1_of_other_classes_is_refused(stock_checkpoint):
    cfg = load_config(
        "configs/demo_semiconv.yaml",
        ["MODEL.WEIGHTS", str(stock_checkpoint), "MODEL.ROI_HEADS.NUM_CLASSES", "2"],
    )
    with pytest.raises(ConfigError, match="number of classes is 1, the config's is 2"):
        draw_twins(cfg, stock_checkpoint, stock_checkpoint, stock_checkpoint.parent / "x.png")


def test_a_file_is_no_folder_to_write_to(run_tool, stock_checkpoint):
    arguments = ("--config-file", "nowhere.yaml", "--output", stock_checkpoint)
    status, _, err = run_tool("tools/drop_in.py", *arguments)
    assert status == 1
    assert f"error: --output {stock_checkpoint}: " in err


def test_format_leaves_out_what_is_not_there():
    row = Row("stock", 40.25, 80.0, 30.0, None, 1234567)
    last = format_rows([row]).splitlines()[-1]
    assert last.split() == ["stock", "40.2", "80.0", "30.0", "–", "1,234,567", "–", "–"]


def test_rows_of_earlier_files_are_told_by_their_names():
    numbers = {"ap": 1.0, "ap50": 1.0, "ap75": 1.0, "seconds_per_image": None, "parameters": 1}
    names = {
        "stage 1: stock Mask R-CNN": (STOCK, False, None),
        "SemiConv, just attached": (SEMICONV, False, None),
        "just attached, s + log K, σ = 0.5": (PAPER, False, 0.5),
        "stock Mask R-CNN, fine-tuned": (STOCK, True, None),
        "SemiConv, fine-tuned": (SEMICONV, True, None),
        "g = 1, σ = 20 at the start, fine-tuned": (PAPER, True, 20),
    }
    rows = read_rows({"rows": [{"model": name} | numbers for name in names]})
    assert [(r.variant, r.tuned, r.sigma_init) for r in rows] == list(names.values())
    written = [row._asdict() | {"model": "another name"} for row in rows]
    assert read_rows({"rows": written}) == [Row(**row) for row in written]


def test_models_take_turns():
    calls = []

    def model(name):
        class Recorder(torch.nn.Module):
            def forward(self, batch):
                calls.append((name, batch[0]))

        return Recorder()

    seconds = time_per_image([model("a"), model("b")], [1, 2, 3], "cpu", warmup=1)
    assert calls == [(name, image) for image in (1, 2, 3) for name in "ab"]
    assert all(s > 0 for s in seconds)
    assert time_per_image([model("a")], [1], "cpu", warmup=1) == [None]


def test_strip_checkpoint_keeps_the_weights_alone(run_tool, tmp_path):
    weights = {"a": torch.randn(3, 4)}
    torch.save({"model": weights, "optimizer": {"b": 1}, "iteration": 7}, tmp_path / "in.pth")
    status, out, err = run_tool(
        "tools/strip_checkpoint.py", tmp_path / "in.pth", tmp_path / "o.pth"
    )
    assert status == 0, err
    assert "12 numbers" in out
    stripped = torch.load(tmp_path / "o.pth", weights_only=True)
    assert set(stripped) == {"model"}
    assert torch.equal(stripped["model"]["a"], weights["a"])
    status, _, err = run_tool(
        "tools/strip_checkpoint.py", "--half", tmp_path / "in.pth", tmp_path / "o.pth"
    )
    assert status == 0, err
    halved = torch.load(tmp_path / "o.pth", weights_only=True)["model"]["a"]
    assert torch.equal(halved, weights["a"].half())
    torch.save(weights, tmp_path / "plain.pth")
    status, _, err = run_tool(
        "tools/strip_checkpoint.py", tmp_path / "plain.pth", tmp_path / "o.pth"
    )
    assert status == 1
    assert "is not a Detectron2 checkpoint: it has no weights under 'model'" in err
    status, _, err = run_tool("tools/strip_checkpoint.py", tmp_path / "no.pth", tmp_path / "o.pth")
    assert status == 1
    assert "there is no checkpoint" in err


def test_strip_checkpoint_names_what_it_cannot_read_or_write(run_tool, tmp_path):
    torch.save({"model": {"a": torch.randn(300, 40)}}, tmp_path / "whole.pth")
    whole = (tmp_path / "whole.pth").read_bytes()
    for name, content in (("cut", whole[:5000]), ("other", b"\xe6no weights"), ("empty", b"")):
        (tmp_path / f"{name}.pth").write_bytes(content)
        status, _, err = run_tool(
            "tools/strip_checkpoint.py", tmp_path / f"{name}.pth", tmp_path / "o.pth"
        )
        assert status == 1
        assert err.startswith(f"error: {tmp_path / name}.pth is damaged, or is not a checkpoint (")
    status, _, err = run_tool("tools/strip_checkpoint.py", tmp_path / "whole.pth", tmp_path)
    assert status == 1
    assert err.startswith(f"error: {tmp_path} cannot be written: ")
