"""What the meta-architecture promises, on models small enough to know what comes out."""

import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import Backbone
from detectron2.utils.events import EventStorage
from torch import nn

from semiconv_d2 import EmbeddingHead, InstanceColoring, LearnedKernel

LEARNED = ("MODEL.COLORING.FOREGROUND", "learned")


class Pooled(Backbone):
    """The image itself, averaged over cells of 4 × 4 pixels."""

    def forward(self, x):
        return {"cells": nn.functional.avg_pool2d(x, 4)}

    def output_shape(self):
        return {"cells": ShapeSpec(channels=3, stride=4)}


def positions_model(**options) -> InstanceColoring:
    """Φ = 0, so that Ψ is the position; a pixel is foreground where the image is bright."""
    head = EmbeddingHead(in_channels=3, hidden_dim=0, embedding_dim=2)
    for p in head.parameters():
        nn.init.zeros_(p)
    model = InstanceColoring(
        **{
            "backbone": Pooled(),
            "in_feature": "cells",
            "embedding_head": head,
            "kernel": LearnedKernel(sigma_init=4.0),
            "foreground_head": None,
            "pixel_mean": (0.0, 0.0, 0.0),
            "pixel_std": (1.0, 1.0, 1.0),
            **options,
        }
    )
    return model.eval()


def discs(*centres: tuple[int, int], size: tuple[int, int] = (64, 96), radius: float = 6.0):
    """An input with white discs on black, and their masks, (N, H, W)."""
    y, x = torch.meshgrid(*(torch.arange(s) for s in size), indexing="ij")
    masks = torch.stack([(x - cx) ** 2 + (y - cy) ** 2 <= radius**2 for cx, cy in centres])
    image = masks.any(dim=0).to(torch.uint8).expand(3, -1, -1) * 255
    return {"image": image, "file_name": "discs.png"}, masks


THREE = ((12, 12), (60, 20), (80, 50))


def as_sets(masks):
    return {tuple(mask.flatten().nonzero()[:, 0].tolist()) for mask in masks}


# --- From images to instances.


@pytest.mark.parametrize("decoder", ["greedy", "kmeans", "mean_shift"])
def test_separate_discs_are_found_exactly(predict, decoder):
    image, masks = discs(*THREE)
    model = positions_model(decoder=decoder)
    [found] = predict(model, [image | {"num_instances": 3}])
    assert as_sets(found.pred_masks) == as_sets(masks)
    assert found.image_size == (64, 96)
    assert (found.scores.diff() <= 0).all()
    assert ((found.scores > 0) & (found.scores <= 1)).all()
    assert found.pred_classes.tolist() == [0, 0, 0]
    for mask, box in zip(found.pred_masks, found.pred_boxes.tensor.tolist(), strict=True):
        rows, columns = mask.nonzero().unbind(dim=1)
        assert box == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


@pytest.mark.parametrize("factor", [0.5, 2])
def test_the_output_has_the_size_that_is_asked_for(predict, factor):
    """The larger it is, the finer the masks: nothing is decoded at the size of the features."""
    size = int(64 * factor), int(96 * factor)
    image, _ = discs(*THREE)
    [found] = predict(positions_model(), [image | {"height": size[0], "width": size[1]}])
    centres = [(x * factor, y * factor) for x, y in THREE]
    _, masks = discs(*centres, size=size, radius=6 * factor)
    assert found.image_size == size
    for mask in found.pred_masks:
        iou = (mask & masks).sum(dim=(1, 2)) / (mask | masks).sum(dim=(1, 2))
        assert iou.max() > 0.75


def test_a_given_foreground_takes_the_place_of_the_model_s(predict):
    image, masks = discs(*THREE)
    [found] = predict(positions_model(), [image | {"foreground": masks[0] | masks[2]}])
    assert as_sets(found.pred_masks) == as_sets(masks[[0, 2]])


def test_images_of_a_batch_do_not_meet(predict):
    first, masks = discs(*THREE)
    second, others = discs((30, 70), size=(96, 64))
    found = predict(positions_model(), [first, second])
    assert as_sets(found[0].pred_masks) == as_sets(masks)
    assert as_sets(found[1].pred_masks) == as_sets(others)


@pytest.mark.parametrize("decoder", ["greedy", "kmeans", "mean_shift"])
@pytest.mark.parametrize("brightness", [0, 255])
def test_no_foreground_and_nothing_but_foreground(predict, decoder, brightness):
    image = {"image": torch.full((3, 40, 50), brightness, dtype=torch.uint8), "num_instances": 2}
    [found] = predict(positions_model(decoder=decoder), [image])
    assert found.pred_masks.shape[1:] == (40, 50)
    assert found.pred_masks.dtype == torch.bool
    assert (len(found) > 0) == (brightness > 0)
    assert found.pred_masks.flatten(1).any(dim=1).all()


def test_small_instances_and_those_beyond_the_limit_are_left_out(predict):
    image, _ = discs(*THREE)
    assert len(predict(positions_model(max_instances=2), [image])[0]) == 2
    assert len(predict(positions_model(min_pixels=10_000), [image])[0]) == 0


def test_classes_are_those_of_the_pixels(predict):
    class Halves(nn.Module):
        """Left of column 12 the first of three classes, right of it the last."""

        def forward(self, x):
            logits = torch.full((len(x), 3, *x.shape[2:]), -9.0)
            bright = x.mean(dim=1) > 100
            logits[:, 0, :, :12][bright[..., :12]] = 9.0
            logits[:, 2, :, 12:][bright[..., 12:]] = 9.0
            return logits

    image, _ = discs(*THREE)
    model = positions_model(foreground_head=Halves(), num_classes=3)
    [found] = predict(model, [image])
    left = [box[0] < 48 for box in found.pred_boxes.tensor.tolist()]
    assert sorted(zip(left, found.pred_classes.tolist(), strict=True)) == [
        (False, 2),
        (False, 2),
        (True, 0),
    ]


def test_given_foreground_keeps_the_classes(predict):
    class Everywhere(nn.Module):
        def forward(self, x):
            logits = torch.full((len(x), 3, *x.shape[2:]), -9.0)
            logits[:, 2] = -5.0
            return logits

    image, masks = discs(*THREE)
    model = positions_model(foreground_head=Everywhere(), num_classes=3)
    [found] = predict(model, [image | {"foreground": masks.any(dim=0)}])
    assert as_sets(found.pred_masks) == as_sets(masks)
    assert found.pred_classes.tolist() == [2, 2, 2]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_embedding_that_is_not_finite_names_the_image(predict, value):
    image, _ = discs(*THREE)
    model = positions_model()
    nn.init.constant_(model.embedding_head.embedding.bias, value)
    with pytest.raises(ValueError, match=r"discs\.png.*finite"):
        predict(model, [image])


def test_a_foreground_that_is_not_finite_or_of_another_size_names_the_image(predict):
    image, _ = discs(*THREE)
    head = nn.Conv2d(3, 1, 1)
    nn.init.constant_(head.bias, float("nan"))
    with pytest.raises(ValueError, match=r"discs\.png: the foreground is not finite"):
        predict(positions_model(foreground_head=head), [image])
    with pytest.raises(
        ValueError, match=r"discs\.png: the given foreground .*\(3, 4\).*\(64, 96\)"
    ):
        predict(positions_model(), [image | {"foreground": torch.ones(3, 4, dtype=torch.bool)}])


def test_kmeans_has_to_be_told_the_number(predict):
    image, _ = discs(*THREE)
    with pytest.raises(ValueError, match=r"discs\.png.*num_instances"):
        predict(positions_model(decoder="kmeans"), [image])


# --- Coordinates and units.


def test_coordinates_are_pixel_centres_of_the_input():
    image, _ = discs(*THREE)
    [in_cells] = positions_model().color([image])
    assert in_cells.embedding[:, 10, 20].tolist() == [20.5 / 4, 10.5 / 4]
    [larger] = positions_model().color([image | {"height": 128, "width": 192}])
    assert larger.embedding[:, 10, 20].tolist() == [10.25 / 4, 5.25 / 4]


def test_without_mixing_the_embedding_is_convolutional():
    image, _ = discs(*THREE)
    [coloring] = positions_model(mixing="none").color([image])
    assert coloring.embedding.abs().max() == 0


# --- Configuration.


def test_sigma_is_learned_only_where_something_teaches_it(make_coloring):
    assert make_coloring().kernel.log_sigma_ratio.value.requires_grad
    fixed = make_coloring("MODEL.SEMICONV.KERNEL_LOSS_WEIGHT", 0.0)
    assert not fixed.kernel.log_sigma_ratio.value.requires_grad


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("MODEL.COLORING.IN_FEATURE", "p9"), r"IN_FEATURE is 'p9'.*'p2'"),
        (("MODEL.ROI_HEADS.NUM_CLASSES", 3), "FOREGROUND to 'learned'"),
        (("MODEL.MASK_ON", False), "MASK_ON"),
        (("MODEL.COLORING.DECODER", "magic"), "'greedy'"),
        (("MODEL.COLORING.FOREGROUND", "guess"), "'image'"),
        (("MODEL.COLORING.FOREGROUND_THRESHOLD", 2.0), "FOREGROUND_THRESHOLD is 2"),
        (("MODEL.COLORING.MAX_PIXELS", 0), "MAX_PIXELS is 0"),
        (("MODEL.COLORING.MIN_PIXELS", 0), "MIN_PIXELS is 0"),
        (("MODEL.COLORING.MARGIN_LOSS_WEIGHT", -1.0), "loss_margin is -1"),
        (("TEST.DETECTIONS_PER_IMAGE", -1), "DETECTIONS_PER_IMAGE is -1"),
        (("MODEL.ROI_HEADS.NUM_CLASSES", 0), "NUM_CLASSES is 0"),
        (
            ("MODEL.SEMICONV.KERNEL_LOSS_WEIGHT", 0.0, "MODEL.SEMICONV.EMBEDDING_LOSS_WEIGHT", 0.0),
            "The embedding would not learn",
        ),
        ((*LEARNED, "MODEL.COLORING.FOREGROUND_LOSS_WEIGHT", 0.0), "FOREGROUND_LOSS_WEIGHT is 0"),
        (
            ("MODEL.COLORING.FOREGROUND", "image", "MODEL.SEMICONV.GRADIENT_SCALE", 0.0),
            "GRADIENT_SCALE is 0.0.* Set it to 1.0",
        ),
    ],
)
def test_what_cannot_be_built_says_why(make_coloring, overrides, message):
    with pytest.raises(ValueError, match=message):
        make_coloring(*overrides)


def test_sigma_and_pictures_go_to_the_event_storage(make_coloring, make_batch):
    model = make_coloring("VIS_PERIOD", 20)
    with EventStorage(start_iter=19) as storage:
        model.train()(make_batch(2))
        assert storage.latest()["semiconv/sigma"][0] == pytest.approx(5.0)
        storage.step()
        model(make_batch(2))
        [(name, picture, _)] = storage._vis_data
    assert "embedding" in name
    assert picture.shape == (3, 96, 3 * 96)
