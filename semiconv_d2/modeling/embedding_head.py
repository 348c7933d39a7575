"""The embedding subnet of section 3.5: one set of weights for all feature levels."""

from fvcore.nn import weight_init
from torch import Tensor, nn

from ..ops import scale_gradient


class EmbeddingHead(nn.Module):
    """1×1 convolution → ReLU → 3×3 convolution: feature maps in, embedding maps Φ out.

    The last layer starts near zero, so that at first Ψ ≈ u: pixels are as far apart as they are
    in the image.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        hidden_dim: int = 256,
        embedding_dim: int = 8,
        gradient_scale: float = 0.1,
    ):
        """
        Args:
            in_channels: channels of every feature map.
            hidden_dim: channels of the 1×1 convolution. 0: Φ is a single 1×1 convolution of the
                features, as in the paper's experiment with dots.
            embedding_dim: D.
            gradient_scale: factor on the gradient that flows back into the feature maps. The
                gradient of the subnet's own weights is not scaled.
        """
        super().__init__()
        if embedding_dim < 2:
            raise ValueError(
                f"EMBEDDING_DIM is {embedding_dim}; the first two channels are geometric, so it "
                "must be at least 2."
            )
        self.gradient_scale = gradient_scale
        if hidden_dim:
            self.hidden = nn.Conv2d(in_channels, hidden_dim, kernel_size=1)
            self.relu = nn.ReLU(inplace=True)
            self.embedding = nn.Conv2d(hidden_dim, embedding_dim, kernel_size=3, padding=1)
            weight_init.c2_msra_fill(self.hidden)
        else:
            self.hidden = self.relu = nn.Identity()
            self.embedding = nn.Conv2d(in_channels, embedding_dim, kernel_size=1)
        nn.init.normal_(self.embedding.weight, std=0.001)
        nn.init.zeros_(self.embedding.bias)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Feature maps (B, C, H_l, W_l) to embedding maps (B, D, H_l, W_l), one for each level."""
        return [
            self.embedding(self.relu(self.hidden(scale_gradient(x, self.gradient_scale))))
            for x in features
        ]
