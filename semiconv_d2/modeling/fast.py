"""Models made faster: for inference once they are trained, and for training on a CPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps

import torch
from detectron2.layers import Conv2d, FrozenBatchNorm2d
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights


def make_fast(model: nn.Module) -> nn.Module:
    """Changes a model in place so that it takes less time for an image, and can no longer be
    trained. Its parameters have other names and values then: do not save or copy it.

    Batch normalisation is folded into convolutions, and weights are stored with channels last:
    results are the same but for rounding. If the device computes bfloat16 in hardware, the backbone
    does; see `has_bfloat16`.
    """
    model.eval()
    fold_norms(model)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    device = next(model.parameters(), torch.empty(0)).device
    if has_bfloat16(device):
        use_bfloat16(model, device.type)
    return model


@torch.no_grad()
def fold_norms(model: nn.Module) -> int:
    """Folds batch normalisation, also frozen, into the Detectron2 convolution that it follows.

    Returns:
        The number of convolutions that have changed. A convolution and its normalisation that are
        separate modules stay as they are.
    """
    convolutions = [m for m in model.modules() if isinstance(m, Conv2d) and _is_fixed(m.norm)]
    for conv in convolutions:
        norm = conv.norm
        statistics = norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        conv.weight, conv.bias = fuse_conv_bn_weights(conv.weight, conv.bias, *statistics)
        conv.norm = None
    return len(convolutions)


def _is_fixed(norm: nn.Module | None) -> bool:
    """Whether a layer normalises every input in the same way."""
    if isinstance(norm, FrozenBatchNorm2d):
        return True
    return isinstance(norm, _BatchNorm) and norm.running_mean is not None


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device computes bfloat16 in hardware: GPUs from NVIDIA's Ampere on, and CPUs with
    AVX-512 BF16 or AMX."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    return device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()


def has_mixed_precision(device: torch.device) -> bool:
    """Whether training can use mixed precision: on GPUs from NVIDIA, and on CPUs that compute
    bfloat16 in hardware."""
    return device.type == "cuda" or (device.type == "cpu" and has_bfloat16(device))


def train_in_bfloat16(model: nn.Module) -> None:
    """Lets a model on the CPU compute in mixed precision in training mode: convolutions and matrix
    products in bfloat16, all else, with the parameters, in float32.

    Gradients need no scaling, since bfloat16 has the range of float32. Feature maps become float32
    again, because ROIAlign rounds boxes to the precision of the map: in bfloat16 to several pixels.
    """
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    forward = model.forward

    @wraps(forward)
    def run(*args, **kwargs):
        with torch.autocast("cpu", torch.bfloat16, enabled=model.training):
            return forward(*args, **kwargs)

    model.forward = run  # type: ignore[method-assign]
    backbone = getattr(model, "backbone", None)
    if backbone is not None:
        backbone.register_forward_hook(_float_maps)


def _float_maps(_module: nn.Module, _inputs: tuple, maps: Mapping) -> dict:
    return {name: feature.float() for name, feature in maps.items()}


def use_bfloat16(model: nn.Module, device_type: str) -> None:
    """Lets the backbone compute in bfloat16; its feature maps are float32 again."""
    backbone = getattr(model, "backbone", None)
    if backbone is not None:
        backbone.forward = _in_bfloat16(backbone.forward, device_type)


def _in_bfloat16(forward: Callable[..., Mapping], device_type: str) -> Callable[..., dict]:
    @wraps(forward)
    def run(*args, **kwargs):
        with torch.autocast(device_type, torch.bfloat16):
            features = forward(*args, **kwargs)
        return {name: feature.float() for name, feature in features.items()}

    return run
