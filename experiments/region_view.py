"""What a model sees in the most crowded place of an image."""

from __future__ import annotations

from detectron2.structures import Boxes, Instances, pairwise_iou
from torch import nn

from semiconv_d2.inference.explanation import explain
from semiconv_d2.visualization.comparison import MIN_SCORE, RegionView, window_around
from semiconv_d2.visualization.embedding import principal_colours


def view_crowded_region(model: nn.Module, image: dict) -> RegionView | None:
    """The confident detection whose box overlaps most with those of others, if there is any.

    Args:
        model: Mask R-CNN with `SemiConvROIHeads`, in evaluation mode.
        image: an input of the model.
    """
    explanation = explain(model, image)
    if not len(explanation.instances):
        return None
    index = _most_crowded(explanation.instances)
    view, embedding = explanation.views[index], explanation.embedding
    left, top, side = window = window_around(view.box, tuple(embedding.shape[1:]))
    colours = principal_colours(embedding[:, top : top + side, left : left + side])
    return RegionView(view, window, colours.numpy())


def _most_crowded(found: Instances) -> int:
    confident = found.scores > min(MIN_SCORE, found.scores.max().item() * 0.999)
    overlap = pairwise_iou(found.pred_boxes, Boxes(found.pred_boxes.tensor[confident]))
    crowding = overlap.sum(dim=1).masked_fill(~confident, -1)
    return int(crowding.argmax())
