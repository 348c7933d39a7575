"""What the ROI heads hand to kernel and losses: competitors in the right frame, pixels, scores."""

from __future__ import annotations

import torch
from detectron2.layers import cat
from detectron2.structures import BitMasks, Boxes, Instances

from semiconv_d2.modeling import mask_branch
from semiconv_d2.modeling.competition import NUMBER

STRIDE = 4


def centres(boxes: torch.Tensor) -> torch.Tensor:
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def without_features(model: torch.nn.Module) -> torch.nn.Module:
    """Φ = 0, so that Ψ is where pixels are."""
    torch.nn.init.zeros_(model.roi_heads.mask_branch.embedding_head.embedding.weight)
    return model


def watch_competitors(model: torch.nn.Module) -> list:
    """Regions and competitors of each call, as they come."""
    seen, original = [], model.roi_heads.competitors

    def watch(scene, instances):
        seen.append((instances, original(scene, instances)))
        return seen[-1][1]

    model.roi_heads.competitors = watch
    return seen


def test_competitors_are_where_the_other_instances_are(make_model, make_batch, losses_of):
    """In cells, in the frame of the image."""
    model = without_features(make_model())
    seen, batch = watch_competitors(model), make_batch(3, 2)
    for x in batch:  # the middle of each box, which no other one has
        masks = x["instances"].gt_masks.tensor.zero_()
        for mask, (left, top, *_) in zip(masks, x["instances"].gt_boxes.tensor.int(), strict=True):
            mask[top + 12 : top + 24, left + 12 : left + 24] = True
    losses_of(model, batch)
    [(proposals, competitors)] = seen
    competing = competitors.chosen
    truth = torch.cat([centres(x["instances"].gt_boxes.tensor) for x in batch])
    image_of = torch.tensor([0, 0, 0, 1, 1])
    row = 0
    for image, x in enumerate(proposals):
        for own in x.get(NUMBER):
            others = [k for k in range(5) if image_of[k] == image and k != own]
            expected = sorted((truth[others] / STRIDE).tolist())
            counts = competing.weights[row] > 0
            found = competing.seeds[row][counts]
            assert not found[:, 2:].any()
            torch.testing.assert_close(
                torch.tensor(sorted(found[:, :2].tolist())),
                torch.tensor(expected),
                atol=1e-4,
                rtol=0,
            )
            row += 1
    assert row == len(competing.weights) >= 5


def test_seeds_of_true_instances_leave_out_what_they_share(make_model, make_batch, losses_of):
    model = without_features(make_model())
    seen, batch = watch_competitors(model), make_batch(2)
    losses_of(model, batch)
    [([proposals], competitors)] = seen
    competing = competitors.chosen
    first, second = centres(batch[0]["instances"].gt_boxes.tensor)
    for row, own in enumerate(proposals.get(NUMBER).tolist()):
        place = competing.seeds[row, 0, :2] * STRIDE
        # The squares share the lower right of the first one, the upper left of the second.
        assert (place > second).all() if own == 0 else (place < first).all()


def test_the_kernel_loss_leaves_out_what_an_instance_shares(
    make_model, make_batch, losses_of, monkeypatch
):
    model = make_model()
    seen, original = [], mask_branch.kernel_cross_entropy

    def watch(odds, own, pixels):
        seen.append((own, pixels))
        return original(odds, own, pixels)

    monkeypatch.setattr(mask_branch, "kernel_cross_entropy", watch)
    watched, batch = watch_competitors(model), make_batch(3)
    masks = batch[0]["instances"].gt_masks.tensor
    masks[0, :20, :20] = False  # a corner of the first box is background
    losses_of(model, batch)
    [(own, pixels)], [([proposals], _)] = seen, watched
    boxes = proposals.proposal_boxes.tensor
    shared = BitMasks((masks.sum(dim=0) > 1).expand(len(boxes), -1, -1))
    expected = ~(own & shared.crop_and_resize(boxes, own.shape[-1]))
    assert torch.equal(pixels, expected)
    assert not expected.all()


def test_a_competitor_counts_by_its_score(make_model, make_batch):
    model = make_model().eval()
    model.roi_heads.mask_branch.seed_kernel.gain.set(1.0)
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


def test_a_map_is_looked_at_in_cells(make_model):
    psi = make_model().roi_heads.mask_branch.region_embedding.embed_map(torch.zeros(8, 3, 5))
    assert psi[0, 0].tolist() == [j + 0.5 for j in range(5)]
    assert psi[1, :, 0].tolist() == [i + 0.5 for i in range(3)]
    assert not psi[2:].any()


def test_what_is_shared_out_at_test_is_with_all_detections_of_an_image(make_model, make_batch):
    """And with none of another image."""
    model = without_features(make_model().eval())
    seen, batch = watch_competitors(model), make_batch(2, 2)
    with torch.no_grad():
        found = model.inference(batch, do_postprocess=False)
        [(regions, competitors)] = seen
        boxes = cat([x.pred_boxes.tensor for x in regions])
        seeds = torch.nn.functional.pad(centres(boxes) / STRIDE, (0, 6))
        competing = competitors.seeds_against(seeds, torch.tensor(10.0), "laplacian")
    assert [len(x) for x in found] == [len(x) for x in regions]
    image_of = torch.repeat_interleave(torch.arange(2), torch.tensor([len(x) for x in regions]))
    places = competing.seeds[..., :2] * STRIDE
    for row, image in enumerate(image_of):
        own = centres(boxes[image_of == image])
        for place in places[row][competing.weights[row] > 0]:
            assert (own - place).abs().sum(dim=1).min() < 1e-3
