"""Semi-convolutional embeddings in plain PyTorch: a small network learns to tell equal bars apart.

    python tools/plain_pytorch.py

The image is a field of identical slanted bars, close to each other. Ten of them are instances. A
tiny network is trained on these with the segment embedding loss, equation (5). The script prints
the share of their pixels whose nearest mean embedding is that of their own instance; chance is
0.10. A convolution gives every bar the same embedding. Coordinates tell where a pixel is, but not
to which bar it belongs. In their sum, equation (6), all pixels of a bar learn to vote for one
point.
"""

import torch
from torch import nn

from semiconv_d2 import ops

torch.manual_seed(0)
coordinates = ops.map_coordinates(64, 64)  # u = (x, y), in pixels
x, y = coordinates.long()
bars = ((x - y) % 8 < 3) & (y % 32 < 24)
# (row, column) of the ten bars that lie completely inside the image
whole = [(row, column) for row in (0, 1) for column in range(-4 * row, 5 - 4 * row)]
masks = torch.stack([bars & (y // 32 == row) & ((x - y) // 8 == column) for row, column in whole])


def train(mixing):
    # The field continues beyond the borders, and so do the convolutions: padding with zeros would
    # tell the network where a pixel is.
    options = {"padding": "same", "padding_mode": "circular"}
    network = nn.Sequential(
        nn.Conv2d(1, 16, 5, **options),
        nn.ReLU(),
        nn.Conv2d(16, 16, 5, dilation=2, **options),
        nn.ReLU(),
        nn.Conv2d(16, 8, 5, dilation=4, **options),
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(200):
        psi = ops.mix(network(bars[None, None].float())[0], coordinates, mixing)  # (8, 64, 64)
        loss = ops.segment_embedding_loss(psi.expand(len(masks), -1, -1, -1), masks)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return psi.detach()


def share_nearest_to_own_mean(psi):
    means = (psi * masks[:, None]).sum(dim=(2, 3)) / masks.sum(dim=(1, 2))[:, None]
    nearest = ops.log_affinities(psi, means, sigma=1.0).argmax(dim=0)
    return (nearest == masks.int().argmax(dim=0))[masks.any(dim=0)].float().mean()


print(f"coordinates alone     {share_nearest_to_own_mean(coordinates):.2f}")
print(f"network               {share_nearest_to_own_mean(train('none')):.2f}")
print(f"network + coordinates {share_nearest_to_own_mean(train('additive')):.2f}")
