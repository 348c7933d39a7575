"""Parameters that learn faster than others, for MODEL.SEMICONV.LR_FACTOR.

The plugin's parameters learn faster than those of the model that it is added to, with any trainer
and optimizer. Such a parameter is stored in units u: the value that the layer computes with is the
parameter times u. Adam moves every parameter by about the learning rate, so a unit of 10 moves the
value ten times as far. Gradient descent would move the value u² times as far; therefore the
gradient is scaled, and the value moves LR_FACTOR times as far.

The gradient of a weight is then as large as in any other layer, so gradient clipping affects it in
the same way. Weight decay is relative to the parameter: it does not pull faster than elsewhere.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..ops import scale_gradient
from ..ops.checks import check_positive

SCALARS_BY_ADAM = 30.0
"""Factor on LR_FACTOR for single numbers under Adam. A weight has an effect once it has moved by a
few hundredths, but a gain has to move from 0 to 1. At a learning rate of 1e-4 that would take Adam
a thousand steps, even with LR_FACTOR 10."""


class _InUnits(nn.Module):
    """A module whose parameters are stored in units.

    The state dictionary holds the unit too, so that a module with another factor can load it. In a
    dictionary without a unit, the unit is 1.
    """

    unit: Tensor

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.register_buffer("unit", torch.ones(()))
        self.gradient_scale = 1.0

    @torch.no_grad()
    def learn_faster(self, lr_factor: float, by_adam: float = 1.0) -> None:
        """Makes the parameters learn `lr_factor` times as fast as others, and with Adam `by_adam`
        times faster still. The values that the module computes with stay the same."""
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

    `weight` and `bias` are in units; `kernel` gives the values to compute with.
    """

    bias: Tensor

    def kernel(self) -> tuple[Tensor, Tensor]:
        """The values of weight and bias to compute with."""
        return self._value(self.weight), self._value(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.conv2d(
            x, *self.kernel(), self.stride, self.padding, self.dilation, self.groups
        )


class LearnedScalar(_InUnits):
    """A learned number that starts at 0, such as a gain or the logarithm of a ratio."""

    def __init__(self, lr_factor: float):
        super().__init__()
        self.value = nn.Parameter(torch.zeros(()))
        self.learn_faster(lr_factor, SCALARS_BY_ADAM)

    def forward(self) -> Tensor:
        """The number, a scalar."""
        return self._value(self.value)

    @torch.no_grad()
    def set(self, value: float) -> None:
        """Sets the number."""
        self.value.fill_(value / self.unit)
