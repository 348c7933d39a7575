"""Detections of images of any size."""

from __future__ import annotations

import numpy as np
import torch
from detectron2.structures import Boxes, Instances

from semiconv_d2.inference.detections import Detections


def found(masks=True):
    instances = Instances((6, 8))
    instances.pred_boxes = Boxes(torch.tensor([[1.0, 1.0, 4.0, 3.0], [0.0, 0.0, 8.0, 6.0]]))
    instances.scores = torch.tensor([0.9, 0.6])
    instances.pred_classes = torch.tensor([1, 0])
    if masks:
        instances.pred_masks = torch.zeros(2, 6, 8, dtype=torch.bool)
        instances.pred_masks[0, 1:3, 1:4] = True
    return instances


def test_detections_are_the_instances():
    detections = Detections.of(found())
    assert len(detections) == 2
    assert detections.size == (6, 8)
    np.testing.assert_array_equal(detections.boxes, found().pred_boxes.tensor)
    assert detections.scores.tolist() == found().scores.tolist()
    assert detections.classes.tolist() == [1, 0]
    for window, mask in zip(detections.masks, found().pred_masks, strict=True):
        np.testing.assert_array_equal(window.whole((6, 8)), mask)


def test_detections_are_chosen_by_index_or_by_a_condition():
    detections = Detections.of(found())
    assert detections[[1, 0]].scores.tolist() == detections.scores[::-1].tolist()
    sure = detections[detections.scores > 0.7]
    assert len(sure) == 1
    assert sure.masks[0].area == 6
    assert len(detections[[]]) == 0


def test_boxes_alone_have_no_masks():
    detections = Detections.of(found(masks=False))
    assert detections.masks is None
    assert detections[[0]].masks is None
