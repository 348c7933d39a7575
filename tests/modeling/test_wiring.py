"""What the ROI heads hand to kernel and losses: rivals in the right frame, pixels, scores."""

from __future__ import annotations

import pytest
import torch
from detectron2.layers import cat
from detectron2.structures import BitMasks, Boxes, Instances

from semiconv_d2.modeling import roi_heads
from semiconv_d2.modeling.competition import NUMBER

STRIDE = 4


def centres(boxes: torch.Tensor) -> torch.Tensor:
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def without_features(model: torch.nn.Module) -> torch.nn.Module:
    """Φ = 0, so that Ψ is where pixels are."""
    torch.nn.init.zeros_(model.roi_heads.embedding_head.embedding.weight)
    return model


def watch_rivals(model: torch.nn.Module) -> list:
    """Regions and rivals of each call, as they come."""
    seen, original = [], model.roi_heads.rivals

    def watch(features, instances):
        seen.append((instances, original(features, instances)))
        return seen[-1][1]

    model.roi_heads.rivals = watch
    return seen


def test_rivals_are_where_the_other_instances_are(make_model, make_batch, losses_of):
    """In cells, from the centre of each proposal."""
    model = without_features(make_model("MODEL.SEMICONV.SHARED_PIXELS", "count"))
    seen, batch = watch_rivals(model), make_batch(3, 2)
    losses_of(model, batch)
    [(proposals, rivals)] = seen
    truth = torch.cat([centres(x["instances"].gt_boxes.tensor) for x in batch])
    image_of = torch.tensor([0, 0, 0, 1, 1])
    row = 0
    for image, x in enumerate(proposals):
        for centre, own in zip(centres(x.proposal_boxes.tensor), x.get(NUMBER), strict=True):
            others = [k for k in range(5) if image_of[k] == image and k != own]
            expected = sorted(((truth[others] - centre) / STRIDE).tolist())
            counts = rivals.weights[row] > 0
            found = rivals.seeds[row][counts]
            assert not found[:, 2:].any()
            torch.testing.assert_close(
                torch.tensor(sorted(found[:, :2].tolist())),
                torch.tensor(expected),
                atol=1e-4,
                rtol=0,
            )
            row += 1
    assert row == len(rivals.weights) >= 5


def test_seeds_of_true_instances_leave_out_what_they_share(make_model, make_batch, losses_of):
    model = without_features(make_model())
    seen, batch = watch_rivals(model), make_batch(2)
    losses_of(model, batch)
    [([proposals], rivals)] = seen
    first, second = centres(batch[0]["instances"].gt_boxes.tensor)
    for row, own in enumerate(proposals.get(NUMBER).tolist()):
        centre = centres(proposals.proposal_boxes.tensor)[row]
        place = rivals.seeds[row, 0, :2] * STRIDE + centre
        # The squares share the lower right of the first one, the upper left of the second.
        assert (place > second).all() if own == 0 else (place < first).all()


@pytest.mark.parametrize("shared", ["ignore", "count"])
@pytest.mark.parametrize("kernel_pixels", ["region", "instances"])
def test_pixels_of_the_kernel_loss(
    make_model, make_batch, losses_of, monkeypatch, kernel_pixels, shared
):
    model = make_model(
        *("MODEL.SEMICONV.KERNEL_PIXELS", kernel_pixels),
        *("MODEL.SEMICONV.SHARED_PIXELS", shared),
    )
    seen, original = [], roi_heads.kernel_cross_entropy

    def watch(odds, own, pixels):
        seen.append((own, pixels))
        return original(odds, own, pixels)

    monkeypatch.setattr(roi_heads, "kernel_cross_entropy", watch)
    rivals, batch = watch_rivals(model), make_batch(3)
    masks = batch[0]["instances"].gt_masks.tensor
    masks[0, :20, :20] = False  # a corner of the first box is background
    losses_of(model, batch)
    [(own, pixels)], [([proposals], _)] = seen, rivals
    boxes = proposals.proposal_boxes.tensor

    def crop(mask: torch.Tensor) -> torch.Tensor:
        return BitMasks(mask.expand(len(boxes), -1, -1)).crop_and_resize(boxes, own.shape[-1])

    count = masks.sum(dim=0)
    expected = crop(count > 0) | own if kernel_pixels == "instances" else torch.ones_like(own)
    if shared == "ignore":
        expected = expected & ~(own & crop(count > 1))
    assert torch.equal(pixels, expected)
    assert expected.all() == ((kernel_pixels, shared) == ("region", "count"))


def test_a_rival_counts_by_its_score(make_model, make_batch):
    model = make_model().eval()
    model.roi_heads.seed_kernel.gain.set(1.0)
    boxes = torch.tensor([[10.0, 10, 60, 60], [30.0, 30, 80, 80]])
    with torch.no_grad():
        features = model.backbone(model.preprocess_image(make_batch(1)).tensor)
        first = []
        for score in (0.9, 0.3):
            regions = Instances(
                (96, 96),
                pred_boxes=Boxes(boxes),
                pred_classes=torch.zeros(2, dtype=torch.long),
                scores=torch.tensor([0.9, score]),
            )
            first.append(model.roi_heads.rescore_masks(features, [regions]).rescored[0])
    assert (first[0] < first[1]).all()


@pytest.mark.parametrize(("unit", "step"), [("stride", 1.0), ("pixel", STRIDE)])
def test_a_map_is_looked_at_in_the_unit_of_the_regions(make_model, unit, step):
    model = make_model("MODEL.SEMICONV.COORD_UNIT", unit)
    psi = model.roi_heads.region_embedding.embed_map(torch.zeros(8, 3, 5))
    assert psi[0, 0].tolist() == [step * (j + 0.5) for j in range(5)]
    assert psi[1, :, 0].tolist() == [step * (i + 0.5) for i in range(3)]
    assert not psi[2:].any()


def test_what_is_shared_out_at_test_is_with_all_detections_of_an_image(make_model, make_batch):
    """And with none of another image."""
    model = without_features(make_model().eval())
    seen, batch = watch_rivals(model), make_batch(2, 2)
    with torch.no_grad():
        found = model.inference(batch, do_postprocess=False)
        [(regions, find)] = seen
        boxes = cat([x.pred_boxes.tensor for x in regions])
        rivals = find(torch.zeros(len(boxes), 8))
    assert [len(x) for x in found] == [len(x) for x in regions]
    image_of = torch.repeat_interleave(torch.arange(2), torch.tensor([len(x) for x in regions]))
    places = rivals.seeds[..., :2] * STRIDE + centres(boxes)[:, None]
    for row, image in enumerate(image_of):
        own = centres(boxes[image_of == image])
        for place in places[row][rivals.weights[row] > 0]:
            assert (own - place).abs().sum(dim=1).min() < 1e-3
