"""The export of docs/how_to/export.md, compared with the model itself."""

import re
from pathlib import Path

import pytest
import torch

from semiconv_d2.inference.images import read_rgb

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "how_to" / "export.md").read_text(encoding="utf-8")


@pytest.mark.filterwarnings("ignore")  # of the tracer, about Detectron2's assertions
def test_a_traced_model_finds_what_the_model_finds(tmp_path, monkeypatch):
    [code] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    for name in ("configs", "checkpoints"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    scope: dict = {}
    exec(code, scope)
    traced = torch.jit.load("model.ts")
    sample = torch.from_numpy(read_rgb(ROOT / "docs" / "images" / "sample.png"))
    sample = sample.permute(2, 0, 1).float()
    for image in (sample, sample[:, :320, :480], torch.zeros(3, 256, 256)):
        with torch.no_grad():
            [expected] = scope["infer"](scope["model"], [{"image": image}])
        expected = expected["instances"]
        before, boxes, classes, masks, scores, size = traced(image)
        torch.testing.assert_close(boxes, expected.pred_boxes.tensor)
        torch.testing.assert_close(scores, expected.scores)
        torch.testing.assert_close(masks, expected.pred_masks)
        torch.testing.assert_close(before, expected.class_scores)
        assert torch.equal(classes, expected.pred_classes)
        assert size.tolist() == list(image.shape[1:])
    assert len(scores) == 0
