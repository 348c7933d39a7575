"""The kernel K_σ with its learned scale."""

import math

import torch
from torch import Tensor, nn

from ..ops import KERNELS
from ..ops.choices import check_choice


class LearnedKernel(nn.Module):
    """Learns σ of equation (9), or of (7).

    The parameter is log σ/σ₀, with σ₀ the σ at the start, so that the weight decay of whatever
    optimizer is used pulls σ back to σ₀ and not to 1.
    """

    def __init__(self, *, kernel: str = "laplacian", sigma_init: float = 10.0):
        """
        Args:
            kernel: "laplacian", equation (9), or "gaussian", equation (7).
            sigma_init: σ at the start, in coordinate units.
        """
        super().__init__()
        if not (math.isfinite(sigma_init) and sigma_init > 0):
            raise ValueError(f"SIGMA_INIT is {sigma_init}; σ must be positive and finite.")
        self.kernel = check_choice("KERNEL", kernel, KERNELS)
        self.register_buffer("sigma_init", torch.tensor(float(sigma_init)))
        self.log_sigma_ratio = nn.Parameter(torch.zeros(()))

    @property
    def sigma(self) -> Tensor:
        """σ, a scalar in coordinate units."""
        return self.sigma_init * self.log_sigma_ratio.exp()
