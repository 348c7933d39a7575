"""The embedding subnet of section 3.5: one set of weights for all feature levels."""

from collections.abc import Sequence

import torch
from fvcore.nn import weight_init
from torch import Tensor, nn

from ..ops import scale_gradient
from .learning_rate import FastConv2d


class EmbeddingHead(nn.Module):
    """1×1 convolution → ReLU → 3×3 convolution: feature maps in, embedding maps Φ out.

    The last layer starts near zero. So at first Ψ ≈ u, and the distance between the embeddings of
    two pixels is their distance in the image.
    """

    level_scales: Tensor | None

    def __init__(
        self,
        *,
        in_channels: int,
        hidden_dim: int = 256,
        embedding_dim: int = 8,
        gradient_scale: float = 0.1,
        lr_factor: float = 10.0,
        sum_strides: Sequence[int] | None = None,
    ):
        """
        Args:
            in_channels: channels of every feature map.
            hidden_dim: channels of the 1×1 convolution. 0: Φ is a single 1×1 convolution of the
                features, as in the paper's experiment with dots.
            embedding_dim: D.
            gradient_scale: factor on the gradient that flows back into the feature maps.
            lr_factor: how many times faster the weights of the subnet learn than other layers, with
                stochastic gradient descent or Adam.
            sum_strides: strides of the feature maps, finest first: the embedding maps of all levels
                are summed into the finest. None: each level has its own embedding map.
        """
        super().__init__()
        if embedding_dim < 2:
            raise ValueError(
                f"EMBEDDING_DIM is {embedding_dim}; the first two channels are geometric, so it "
                "must be at least 2."
            )
        self.gradient_scale = gradient_scale
        scales = None if sum_strides is None else _level_scales(sum_strides, embedding_dim)
        self.register_buffer("level_scales", scales, persistent=False)
        self.hidden = None
        if hidden_dim:
            self.hidden = FastConv2d(in_channels, hidden_dim, kernel_size=1)
            self.relu = nn.ReLU(inplace=True)
            self.embedding = FastConv2d(hidden_dim, embedding_dim, kernel_size=3, padding=1)
            weight_init.c2_msra_fill(self.hidden)
        else:
            self.embedding = FastConv2d(in_channels, embedding_dim, kernel_size=1)
        nn.init.normal_(self.embedding.weight, std=0.001)
        nn.init.zeros_(self.embedding.bias)
        for layer in (self.hidden, self.embedding):
            if layer is not None:
                layer.learn_faster(lr_factor)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Feature maps (B, C, H_l, W_l) to embedding maps (B, D, H_l, W_l), one for each level; or,
        with `sum_strides`, to their sum, which is one map."""
        maps = [scale_gradient(x, self.gradient_scale) for x in features]
        if self.hidden is not None:
            kernel = self.hidden.kernel()  # once for all levels
            maps = [self.relu(nn.functional.conv2d(x, *kernel)) for x in maps]
        kernel, padding = self.embedding.kernel(), self.embedding.padding
        # On the CPU a convolution to few channels is slow. Not when tracing, which would store the
        # sizes of the maps as constants.
        if maps[0].device.type == "cpu" and not (torch.is_grad_enabled() or torch.jit.is_tracing()):
            maps = shifted_convolution(maps, *kernel)
        else:
            maps = [nn.functional.conv2d(x, *kernel, padding=padding) for x in maps]
        return maps if self.level_scales is None else [sum_levels(maps, self.level_scales)]


def sum_levels(maps: Sequence[Tensor], scales: Tensor) -> Tensor:
    """Sums the embedding maps of all levels into one map at the finest level, for regions of all
    sizes.

    Args:
        maps: Φ, one (B, D, H_l, W_l) for each level, finest first.
        scales: factors on the channels of each level, (L, D, 1, 1).

    Returns:
        (B, D, H_0, W_0)
    """
    total, size = maps[0], maps[0].shape[-2:]
    for x, scale in zip(maps[1:], scales[1:], strict=True):
        fine = nn.functional.interpolate(x, size=size, mode="bilinear", align_corners=False)
        total = torch.addcmul(total, scale.to(fine.dtype), fine)
    return total


def _level_scales(strides: Sequence[int], dim: int) -> Tensor:
    """Factors for `sum_levels`: the first two channels of each level are in cells of that level,
    and the factor turns them into cells of the finest."""
    scales = torch.ones(len(strides), dim, 1, 1)
    scales[:, :2] = torch.tensor(strides).view(-1, 1, 1, 1) / strides[0]
    return scales


def shifted_convolution(maps: Sequence[Tensor], weight: Tensor, bias: Tensor) -> list[Tensor]:
    """A convolution that keeps the size of maps, computed as a 1×1 convolution to all products of
    weight and input, which are then summed at their places; equal up to rounding.

    Args:
        maps: (B, C, H, W) each.
        weight: (D, C, k, k), k odd.
        bias: (D,)
    """
    dim, channels, side, _ = weight.shape
    # Where a convolution reads at an offset, this writes at the opposite offset.
    products = weight.flip(2, 3).permute(0, 2, 3, 1).reshape(-1, channels, 1, 1)
    bias = bias.view(dim, 1, 1)
    summed = []
    for x in maps:
        columns = nn.functional.conv2d(x, products).flatten(2)
        folded = nn.functional.fold(columns, x.shape[2:], side, padding=side // 2)
        summed.append(folded + bias.to(folded.dtype))
    return summed
