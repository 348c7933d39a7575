"""Backbones from timm under Detectron2's FPN, with the weights of timm's classifiers."""

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
"""Names of the feature maps, as in Detectron2's ResNets, and their strides."""


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
            name: an architecture of timm, such as "tf_efficientnet_lite0".
            weights: a classifier's checkpoint in PyTorch's format. "": random weights.
            freeze_at: 2 to 5: all layers up to "res2" … "res5" are frozen. 0: all are trained.
            freeze_norm: whether batch normalisation keeps the statistics of the checkpoint.

        Raises:
            ImportError: timm is not installed.
            ValueError: timm has no such architecture; it has no feature maps of these strides; the
                checkpoint belongs to another architecture; or freeze_at is another number.
            FileNotFoundError: the checkpoint does not exist.
        """
        super().__init__()
        if freeze_at not in (0, *range(2, 6)):
            raise ValueError(
                f"MODEL.BACKBONE.FREEZE_AT is {freeze_at}; for a backbone of timm it must be 0, to "
                "train all layers, or 2 to 5, to train only the layers after res2 … res5."
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
    """The backbone of MODEL.TIMM under the FPN of MODEL.FPN; a choice of MODEL.BACKBONE.NAME."""
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
        raise ImportError(
            "MODEL.BACKBONE.NAME is 'build_timm_fpn_backbone', which needs timm: pip install timm"
        ) from error
    return timm


@torch.enable_grad()
def _behind(body: nn.Module, index: int) -> list[nn.Parameter]:
    """The parameters that a feature map depends on, for any names of timm's layers."""
    parameters = list(body.parameters())
    body.eval()  # keep this image out of the batch statistics
    feature_map = body(torch.zeros(1, 3, 64, 64))[index]
    body.train()
    gradients = torch.autograd.grad(feature_map.sum(), parameters, allow_unused=True)
    return [p for p, g in zip(parameters, gradients, strict=True) if g is not None]


def _read(path: Path, name: str, classifier: nn.Module) -> dict[str, Tensor]:
    """Reads a checkpoint, with the classifier's names for its tensors. Other projects use other
    names, so the tensors need only have the same shapes in the same order."""
    if not path.is_file():
        raise FileNotFoundError(f"MODEL.TIMM.WEIGHTS is {path}, but this file does not exist.")
    given = torch.load(path, map_location="cpu", weights_only=True)
    for key in ("state_dict", "model"):  # the weights in a training checkpoint
        given = given[key] if isinstance(given.get(key), dict) else given
    wanted = classifier.state_dict()
    if set(given) == set(wanted):
        return given
    if [getattr(v, "shape", None) for v in given.values()] != [v.shape for v in wanted.values()]:
        raise ValueError(
            f"MODEL.TIMM.WEIGHTS is {path}. Its {len(given)} tensors do not match the "
            f"{len(wanted)} of {name} in number, order or shape: set MODEL.TIMM.NAME to the "
            "architecture of the checkpoint."
        )
    return dict(zip(wanted, given.values(), strict=True))
