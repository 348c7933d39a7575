"""The embedding subnet of section 3.5: one set of weights for all feature levels in use."""

import torch
from fvcore.nn import weight_init
from torch import Tensor, nn

from ..ops import scale_gradient
from .learning_rate import FastConv2d


class EmbeddingHead(nn.Module):
    """1×1 convolution → ReLU → 3×3 convolution: feature maps in, embedding maps Φ out. Further
    hidden layers, 3×3 convolution → ReLU each, come before the last one.

    The last layer starts near zero, so that at first Ψ ≈ u: pixels are as far apart as they are
    in the image.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        hidden_dim: int = 64,
        hidden_layers: int = 2,
        embedding_dim: int = 8,
        gradient_scale: float = 0.1,
        lr_factor: float = 10.0,
    ):
        """
        Args:
            in_channels: channels of every feature map.
            hidden_dim: channels of the 1×1 convolution. 0: Φ is a single 1×1 convolution of the
                features, as in the paper's experiment with dots.
            hidden_layers: the 1×1 convolution, and 3×3 ones after it; none where `hidden_dim` is 0.
            embedding_dim: D.
            gradient_scale: factor on the gradient that flows back into the feature maps.
            lr_factor: how much faster the subnet's own weights learn than those of other layers,
                with stochastic gradient descent or Adam.
        """
        super().__init__()
        if embedding_dim < 2:
            raise ValueError(
                f"EMBEDDING_DIM is {embedding_dim}; the first two channels are geometric, so it "
                "must be at least 2."
            )
        if hidden_layers < 1:
            raise ValueError(f"HIDDEN_LAYERS is {hidden_layers}; it must be at least 1.")
        self.gradient_scale = gradient_scale
        if hidden_dim:
            self.hidden = FastConv2d(in_channels, hidden_dim, kernel_size=1)
            self.relu = nn.ReLU(inplace=True)
            self.embedding = FastConv2d(hidden_dim, embedding_dim, kernel_size=3, padding=1)
            weight_init.c2_msra_fill(self.hidden)
        else:
            self.hidden = self.relu = nn.Identity()
            self.embedding = FastConv2d(in_channels, embedding_dim, kernel_size=1)
        deeper = hidden_dim and hidden_layers > 1
        self.deeper = _deeper(hidden_dim, hidden_layers - 1) if deeper else None
        nn.init.normal_(self.embedding.weight, std=0.001)
        nn.init.zeros_(self.embedding.bias)
        for layer in self.modules():
            if isinstance(layer, FastConv2d):
                layer.learn_faster(lr_factor)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Feature maps (B, C, H_l, W_l) to embedding maps (B, D, H_l, W_l), one for each level."""
        hidden = [self.relu(self.hidden(scale_gradient(x, self.gradient_scale))) for x in features]
        if self.deeper is not None:
            hidden = [self.deeper(x) for x in hidden]
        return [self._embed(x) for x in hidden]

    def _embed(self, hidden: Tensor) -> Tensor:
        """The last layer. At test on the CPU, where convolutions to few channels are slow, by
        `shifted_convolution`; tracing would take the sizes that it needs for constants."""
        quick = hidden.device.type == "cpu" and not torch.is_grad_enabled()
        if quick and self.embedding.kernel_size == (3, 3) and not torch.jit.is_tracing():
            return shifted_convolution(hidden, *self.embedding.kernel())
        return self.embedding(hidden)


def _deeper(dim: int, layers: int) -> nn.Sequential:
    parts = nn.Sequential()
    for _ in range(layers):
        convolution = FastConv2d(dim, dim, kernel_size=3, padding=1)
        weight_init.c2_msra_fill(convolution)
        parts.extend([convolution, nn.ReLU(inplace=True)])
    return parts


def shifted_convolution(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A convolution that keeps the size of the map, as one 1×1 convolution to all products and the
    sum of these at their places: the same up to rounding.

    Args:
        x: (B, C, H, W).
        weight: (D, C, k, k), k odd.
        bias: (D,)
    """
    dim, channels, side, _ = weight.shape
    # Where a convolution reads at an offset, this writes at the opposite one.
    products = weight.flip(2, 3).permute(0, 2, 3, 1).reshape(-1, channels, 1, 1)
    columns = nn.functional.conv2d(x, products).flatten(2)
    folded = nn.functional.fold(columns, x.shape[2:], side, padding=side // 2)
    return folded + bias.to(folded.dtype).view(dim, 1, 1)
