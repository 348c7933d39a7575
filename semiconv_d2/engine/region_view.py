"""What a model sees in the most crowded place of an image."""

import torch
from detectron2.structures import Boxes, Instances, pairwise_iou
from torch import nn

from ..visualization.comparison import MIN_SCORE, RegionView
from ..visualization.embedding import principal_colours


@torch.no_grad()
def view_crowded_region(model: nn.Module, image: dict) -> RegionView | None:
    """The confident detection whose box overlaps most with those of others, if there is any.

    Args:
        model: Mask R-CNN with `SemiConvROIHeads`, in evaluation mode.
        image: an input of the model.
    """
    batch = model.preprocess_image([image])
    features = model.backbone(batch.tensor)
    [found] = model.inference([image], do_postprocess=False)
    if not len(found):
        return None
    index = _most_crowded(found)
    boxes = found.pred_boxes[index : index + 1]

    heads = model.roi_heads
    masks = heads.rescore_masks(features, [boxes], [found.pred_classes[index : index + 1]])
    phi = heads.embedding_maps(features)[0][0]
    psi = heads.region_embedding.embed_map(phi)
    shown = masks.seed_weights, masks.log_kernel.exp(), masks.rescored.sigmoid()
    height, width = batch.image_sizes[0]
    padded_height, padded_width = batch.tensor.shape[-2:]
    used = psi[
        :,
        : max(1, round(phi.shape[1] * height / padded_height)),
        : max(1, round(phi.shape[2] * width / padded_width)),
    ]
    return RegionView(
        principal_colours(used.cpu()).numpy(),
        boxes.tensor[0].cpu().numpy() / (width, height, width, height),
        *(x[0].float().cpu().numpy() for x in shown),
    )


def _most_crowded(found: Instances) -> int:
    confident = found.scores > min(MIN_SCORE, found.scores.max().item() * 0.999)
    overlap = pairwise_iou(found.pred_boxes, Boxes(found.pred_boxes.tensor[confident]))
    crowding = overlap.sum(dim=1).masked_fill(~confident, -1)
    return int(crowding.argmax())
