"""Another program loads a shipped config: SAHI, which merges it over Detectron2's bare defaults."""

import numpy as np
import pytest
from PIL import Image

import semiconv_d2

CHECKPOINT = "checkpoints/demo_mask_rcnn.pth"


@pytest.mark.slow
def test_sahi_cuts_an_image_into_slices(datasets_folder):
    pytest.importorskip("sahi", reason="no SAHI: pip install 'sahi==0.12.*'")
    from sahi import AutoDetectionModel
    from sahi.predict import get_sliced_prediction

    model = AutoDetectionModel.from_pretrained(
        model_type="detectron2",
        model_path=CHECKPOINT,
        config_path=semiconv_d2.get_config_file("demo_semiconv"),
        confidence_threshold=0.5,
        device="cpu",
    )
    assert type(model.model.model.roi_heads).__name__ == "SemiConvROIHeads"
    files = sorted((datasets_folder / "synthetic_worms" / "images").iterdir())[:2]
    image = np.concatenate([np.asarray(Image.open(file).convert("RGB")) for file in files], axis=1)
    found = get_sliced_prediction(
        image, model, slice_height=192, slice_width=192, overlap_height_ratio=0, verbose=0
    )
    assert len(found.object_prediction_list) > 4
    assert all(one.mask is not None for one in found.object_prediction_list)
