"""MODEL.SEMICONV.LR_FACTOR: the plugin's parameters learn faster than those of the model that it is
attached to, whatever trainer and optimizer there are.

Such a parameter counts in units: what is computed with is the parameter times its unit, u. Adam
moves every parameter by about its learning rate, so that with a unit of 10 what is computed with
moves ten times as far. Gradient descent would move it u² times as far; the gradient is scaled so
that the two agree. That of a weight is then as large as in any other layer, and clipping gradients
does to it what it does there. Weight decay is that of other layers: it pulls no faster.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..ops import scale_gradient
from ..ops.checks import check_positive

SCALARS_BY_ADAM = 30.0
"""Beside LR_FACTOR. A weight matters once it has moved by some hundredths; a gain has to get from
0 to 1, which at a learning rate of 1e-4 would take Adam a thousand steps even ten times as fast."""


class _InUnits(nn.Module):
    """Parameters that count in units. State dictionaries hold the unit beside them, so that they
    can be read with any other factor; without one they are taken as they are computed with."""

    unit: Tensor

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.register_buffer("unit", torch.ones(()))
        self.gradient_scale = 1.0

    @torch.no_grad()
    def learn_faster(self, lr_factor: float, by_adam: float = 1.0) -> None:
        """From now on `lr_factor` times as fast as others, and with Adam `by_adam` times that. What
        is computed with stays."""
        unit = check_positive("LR_FACTOR", lr_factor) * by_adam
        for parameter in self.parameters(recurse=False):
            parameter.mul_(self.unit / unit)
        self.unit.fill_(unit)
        self.gradient_scale = lr_factor / unit**2

    def _value(self, parameter: Tensor) -> Tensor:
        return scale_gradient(parameter, self.gradient_scale) * self.unit

    def _load_from_state_dict(self, state_dict, prefix, *args):
        factor = float(state_dict.get(prefix + "unit", 1.0)) / float(self.unit)
        for key in (prefix + name for name in self._parameters):
            if key in state_dict:
                state_dict[key] = state_dict[key] * factor
        state_dict[prefix + "unit"] = self.unit.clone()
        super()._load_from_state_dict(state_dict, prefix, *args)


class FastConv2d(_InUnits, nn.Conv2d):
    """A convolution whose weights can learn faster than others.

    `weight` and `bias` are in units; `kernel` gives them as they are computed with.
    """

    bias: Tensor

    def kernel(self) -> tuple[Tensor, Tensor]:
        """Weight and bias, as they are computed with."""
        return self._value(self.weight), self._value(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.conv2d(
            x, *self.kernel(), self.stride, self.padding, self.dilation, self.groups
        )


class LearnedScalar(_InUnits):
    """A number that starts at 0, such as a gain, or the logarithm of a ratio."""

    def __init__(self, lr_factor: float):
        super().__init__()
        self.value = nn.Parameter(torch.zeros(()))
        self.learn_faster(lr_factor, SCALARS_BY_ADAM)

    def forward(self) -> Tensor:
        """The number, a scalar."""
        return self._value(self.value)

    @torch.no_grad()
    def set(self, value: float) -> None:
        """Makes it another number."""
        self.value.fill_(value / self.unit)
