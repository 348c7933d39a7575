"""Backbones from timm below Detectron2's FPN, with the weights that timm's classifiers have."""

from __future__ import annotations

from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, FPN, Backbone
from detectron2.modeling.backbone.fpn import LastLevelMaxPool
from torch import Tensor, nn

from ..config import complete

STAGES = ("res2", "res3", "res4", "res5")
STRIDES = (4, 8, 16, 32)
"""Feature maps by the names that Detectron2's ResNets give theirs, and their strides."""


class TimmBackbone(Backbone):
    """The feature maps of a classifier of timm."""

    def __init__(
        self,
        name: str,
        weights: str | Path = "",
        *,
        freeze_at: int = 0,
        freeze_norm: bool = True,
    ):
        """
        Args:
            name: of timm's architecture, "tf_efficientnet_lite0", …
            weights: a classifier's checkpoint in PyTorch's format. "": random ones.
            freeze_at: 2 to 5: what "res2" … "res5" is computed from is not trained. 0: all is.
            freeze_norm: whether batch normalisation keeps the statistics of the weights.

        Raises:
            ImportError: timm is not installed.
            ValueError: timm has no such architecture, it has no such feature maps, the weights
                are not of it, or freeze_at is another number.
            FileNotFoundError: there is no such file.
        """
        super().__init__()
        if freeze_at not in (0, *range(2, 6)):
            raise ValueError(
                f"MODEL.BACKBONE.FREEZE_AT is {freeze_at}; a backbone of timm takes 0, where all "
                "of it is trained, or 2 to 5, where it is from behind res2 … res5."
            )
        timm = _import_timm()
        try:
            classifier = timm.create_model(name)
            reductions = timm.create_model(name, features_only=True).feature_info.reduction()
        except (AttributeError, RuntimeError) as error:
            raise ValueError(f"MODEL.TIMM.NAME is {name!r}: {error}") from error
        if not set(STRIDES) <= set(reductions):
            raise ValueError(
                f"MODEL.TIMM.NAME is {name!r}, whose feature maps have the strides {reductions}; "
                f"an FPN needs {STRIDES}."
            )
        state = _read(Path(weights), name, classifier) if weights else None
        self.body = timm.create_model(
            name,
            features_only=True,
            out_indices=[reductions.index(s) for s in STRIDES],
            pretrained=state is not None,
            pretrained_cfg_overlay={"state_dict": state},
        )
        if freeze_norm:
            self.body = timm.layers.freeze_batch_norm_2d(self.body)
        if freeze_at:
            for parameter in _behind(self.body, freeze_at - 2):
                parameter.requires_grad = False
        self._shapes = {
            stage: ShapeSpec(channels=c, stride=s)
            for stage, c, s in zip(STAGES, self.body.feature_info.channels(), STRIDES, strict=True)
        }

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Images (B, 3, H, W) to the feature maps."""
        return dict(zip(STAGES, self.body(x), strict=True))

    def output_shape(self) -> dict[str, ShapeSpec]:
        return self._shapes


@BACKBONE_REGISTRY.register()
def build_timm_fpn_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> FPN:
    """MODEL.TIMM below MODEL.FPN, for MODEL.BACKBONE.NAME."""
    node = complete(cfg).MODEL.TIMM
    return FPN(
        bottom_up=TimmBackbone(
            node.NAME,
            node.WEIGHTS,
            freeze_at=cfg.MODEL.BACKBONE.FREEZE_AT,
            freeze_norm=node.FREEZE_NORM,
        ),
        in_features=cfg.MODEL.FPN.IN_FEATURES,
        out_channels=cfg.MODEL.FPN.OUT_CHANNELS,
        norm=cfg.MODEL.FPN.NORM,
        top_block=LastLevelMaxPool(),
        fuse_type=cfg.MODEL.FPN.FUSE_TYPE,
    )


def _import_timm():
    try:
        import timm
    except ImportError as error:
        raise ImportError("MODEL.BACKBONE.NAME needs timm: pip install timm") from error
    return timm


@torch.enable_grad()
def _behind(body: nn.Module, index: int) -> list[nn.Parameter]:
    """The parameters that a feature map depends on, whatever timm calls its layers."""
    parameters = list(body.parameters())
    body.eval()  # no statistics of this image
    feature_map = body(torch.zeros(1, 3, 64, 64))[index]
    body.train()
    gradients = torch.autograd.grad(feature_map.sum(), parameters, allow_unused=True)
    return [p for p, g in zip(parameters, gradients, strict=True) if g is not None]


def _read(path: Path, name: str, classifier: nn.Module) -> dict[str, Tensor]:
    """A checkpoint whose tensors have the shapes of the classifier's, in the same order, by the
    classifier's names: those of other projects differ."""
    if not path.is_file():
        raise FileNotFoundError(f"MODEL.TIMM.WEIGHTS is {path}, and there is no such file.")
    given = torch.load(path, map_location="cpu", weights_only=True)
    for key in ("state_dict", "model"):  # with what else a training has to remember
        given = given[key] if isinstance(given.get(key), dict) else given
    wanted = classifier.state_dict()
    if set(given) == set(wanted):
        return given
    if [getattr(v, "shape", None) for v in given.values()] != [v.shape for v in wanted.values()]:
        raise ValueError(
            f"MODEL.TIMM.WEIGHTS, {path}, has {len(given)} tensors that are not the "
            f"{len(wanted)} of {name} in number, order or shape."
        )
    return dict(zip(wanted, given.values(), strict=True))
