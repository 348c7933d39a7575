"""Explains how a model found its instances: embedding, votes, seeds and kernels."""

from __future__ import annotations

from typing import NamedTuple

import torch
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import Instances
from torch import Tensor, nn

from ..modeling import InstanceColoring, SemiConvMixin
from ..ops import (
    log_affinities,
    log_odds,
    map_coordinates,
    mix,
    region_coordinates,
    sample_map,
    seed_embedding,
)
from ..visualization.regions import InstanceView

_SIDE = 56  # InstanceColoring has no regions: sample points along the side of the regions drawn
_MARGIN = (
    0.15  # the margin of such a region around the pixels of the instance, as a share of the box
)
_SURE = 10.0  # the logit of a given foreground


class Explanation(NamedTuple):
    """What a model predicts for an image, and why; on the CPU."""

    instances: Instances
    """N instances with `pred_boxes`, `scores`, `pred_classes` and `pred_masks` (N, H, W). They also
    have `seeds` (N, 2), the expected positions x and y of the seeds in pixels, and
    `seed_embeddings` (N, D), the embeddings of the seeds. If the model has regions, these are the
    embeddings of the level that a region is pooled from."""
    embedding: Tensor
    """Ψ at the pixels, (D, H, W). If the model has regions: at the finest level. A region uses the
    level that it is pooled from."""
    votes: Tensor | None
    """The point that the geometric part of Ψ of each pixel points to, (2, H, W), x and y in pixels;
    None if embeddings are not mixed with coordinates."""
    views: list[InstanceView]
    """One for each instance, without a label."""


def can_explain(model: nn.Module) -> bool:
    """Whether `explain` can explain this model."""
    heads = getattr(model, "roi_heads", None)
    return isinstance(model, InstanceColoring) or (
        isinstance(heads, SemiConvMixin)
        and heads.mask_branch is not None
        and heads.mask_branch.seed_kernel is not None
    )


@torch.no_grad()
def explain(model: nn.Module, image: dict, score_threshold: float = 0.0) -> Explanation:
    """Runs a model on an image, and explains its instances.

    Args:
        model: `InstanceColoring`, or a GeneralizedRCNN with semi-convolutional ROI heads and a
            kernel; in evaluation mode.
        image: an input of the model.
        score_threshold: instances with a lower score are left out.

    Raises:
        ValueError: the model is of another kind.
    """
    if not can_explain(model):
        heads = getattr(model, "roi_heads", model)
        raise ValueError(
            f"{type(heads).__name__} has no embedding and no kernel to explain; it has only masks."
        )
    if isinstance(model, InstanceColoring):
        return _explain_coloring(model, image, score_threshold)
    return _explain_regions(model, image, score_threshold)


def _explain_regions(model: nn.Module, image: dict, score_threshold: float) -> Explanation:
    batch = model.preprocess_image([image])
    features = model.backbone(batch.tensor)
    if model.proposal_generator is None:
        proposals = [image["proposals"].to(batch.tensor.device)]
    else:
        proposals, _ = model.proposal_generator(batch, features)
    [found], _ = model.roi_heads(batch, features, proposals)
    height, width = batch.image_sizes[0]
    size = image.get("height", height), image.get("width", width)
    scale = torch.tensor([size[1] / width, size[0] / height], device=batch.tensor.device)

    heads = model.roi_heads
    masks = heads.rescore_masks(features, [found])
    boxes = found.pred_boxes
    region_embedding, maps = heads.mask_branch.region_embedding, heads.scene(features).maps
    psi = region_embedding(maps, [boxes])
    weights = masks.seed_weights
    points = region_coordinates(boxes.tensor, weights.shape[-1])
    # As fields of the instances, because postprocessing drops some boxes.
    found.seeds = (weights[:, None] * points).flatten(2).sum(dim=2) * scale
    found.seed_embeddings = seed_embedding(weights, psi)
    found.region = torch.arange(len(found), device=scale.device)
    regions = (boxes.tensor * scale.repeat(2)).cpu()
    # All detections compete, and claim pixels if masks are exclusive. Only some are shown.
    instances = detector_postprocess(found, *size).to("cpu")
    instances = instances[instances.scores >= score_threshold]
    kept = instances.region.tolist()
    instances.remove("region")

    stride, mixing = region_embedding.stride, region_embedding.mixing
    full = _embed(maps[0][0], size, scale, stride, mixing)
    views = [
        InstanceView(
            "",
            regions[region].numpy(),
            instances.seeds[number].numpy(),
            *(
                x[region].float().cpu().numpy()
                for x in (weights, masks.log_kernel, masks.logits, masks.rescored)
            ),
            instances.pred_masks[number].numpy(),
        )
        for number, region in enumerate(kept)
    ]
    return Explanation(instances, full.cpu(), _votes(full, stride, scale, mixing), views)


def _explain_coloring(model: InstanceColoring, image: dict, score_threshold: float) -> Explanation:
    [coloring] = model.color([image])
    instances = model.decode(image, coloring)
    instances = instances[instances.scores >= score_threshold]
    psi, size = coloring.embedding, coloring.embedding.shape[1:]
    foreground = coloring.foreground.amax(dim=0).logit().clamp(-_SURE, _SURE)
    scale = psi.new_tensor([size[1] / image["image"].shape[2], size[0] / image["image"].shape[1]])

    masks = instances.pred_masks
    means = [psi[:, mask].mean(dim=1) for mask in masks]
    seeds = torch.stack(means) if means else psi.new_zeros(0, len(psi))
    centres = map_coordinates(*size, device=psi.device)
    places = [centres[:, mask].mean(dim=1) for mask in masks]
    boxes = instances.pred_boxes.tensor
    margin = _MARGIN * (boxes[:, 2:] - boxes[:, :2])
    boxes = torch.cat([boxes[:, :2] - margin, boxes[:, 2:] + margin], dim=1)
    points = region_coordinates(boxes, _SIDE)
    instances.seeds = torch.stack(places) if places else psi.new_zeros(0, 2)
    instances.seed_embeddings = seeds

    views = []
    for number, mask in enumerate(masks):
        grid = points[number].permute(1, 2, 0)
        sampled = sample_map(psi, grid)
        log_k = log_affinities(
            sampled, seeds[number : number + 1], model.kernel.sigma, model.kernel.kernel
        )[0]
        logits = sample_map(foreground[None], grid)[0]
        inside = sample_map(mask[None].to(psi), grid)[0]
        claimed = torch.minimum(logits, log_odds(log_k))
        arrays = (
            boxes[number],
            instances.seeds[number],
            inside / inside.sum().clamp(min=1),
            log_k,
            logits,
            claimed,
            mask,
        )
        views.append(InstanceView("", *(x.cpu().numpy() for x in arrays)))
    return Explanation(
        instances.to("cpu"),
        psi.cpu(),
        _votes(psi, model.stride, scale, model.mixing),
        views,
    )


def _embed(phi: Tensor, size: tuple[int, int], scale: Tensor, stride: float, mixing: str) -> Tensor:
    """Ψ at the pixel centres of the output, (D, H, W)."""
    points = map_coordinates(*size, device=phi.device).permute(1, 2, 0) / scale
    return mix(sample_map(phi.float(), points, stride), points.permute(2, 0, 1) / stride, mixing)


def _votes(psi: Tensor, stride: float, scale: Tensor, mixing: str) -> Tensor | None:
    """The geometric part of Ψ (D, H, W) in pixels of the output."""
    return (psi[:2] * stride * scale[:, None, None]).cpu() if mixing == "additive" else None
