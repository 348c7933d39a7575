"""Single numbers that are learned: the gain, and the logarithms of σ and of the background."""

import torch
from torch import Tensor, nn

from ..ops import scale_gradient
from ..ops.choices import check_positive

UNIT = 30.0


class LearnedScalar(nn.Module):
    """A number that starts at 0, and that a short fine-tuning has time to learn.

    The parameter counts in units of `UNIT`. Adam moves each parameter by about its learning rate,
    however large the gradient: at 1e-4, a gain without a unit would be 0.03 after 300 steps. With
    stochastic gradient descent the unit makes no difference: the number moves by `lr_factor` times
    the learning rate times its gradient.
    """

    def __init__(self, lr_factor: float):
        super().__init__()
        self.lr_factor = check_positive("LR_FACTOR", lr_factor)
        self.units = nn.Parameter(torch.zeros(()))

    def forward(self) -> Tensor:
        """The number, a scalar."""
        return UNIT * scale_gradient(self.units, self.lr_factor / UNIT**2)

    @torch.no_grad()
    def set(self, value: float) -> None:
        """Makes it another number."""
        self.units.fill_(value / UNIT)
