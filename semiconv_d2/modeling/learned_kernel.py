"""The kernel K_σ with its learned scale."""

import torch
from detectron2.utils.events import EventStorage
from torch import Tensor, nn

from ..ops import KERNELS
from ..ops.checks import check_choice, check_positive
from .learning_rate import LearnedScalar

_SCALAR_PERIOD = 20  # iterations, as in Detectron2's writers. Reading σ has to wait for the GPU.


class LearnedKernel(nn.Module):
    """Learns σ of equation (9), or of (7).

    The learned parameter is log σ/σ₀, where σ₀ is σ at the start. So weight decay pulls σ back to
    σ₀, and not to 1.
    """

    def __init__(
        self, *, kernel: str = "laplacian", sigma_init: float = 10.0, lr_factor: float = 10.0
    ):
        """
        Args:
            kernel: "laplacian", equation (9), or "gaussian", equation (7).
            sigma_init: σ at the start, in coordinate units.
            lr_factor: as in `EmbeddingHead`, for the parameters of the kernel.
        """
        super().__init__()
        check_positive("SIGMA_INIT", sigma_init)
        self.kernel = check_choice("KERNEL", kernel, KERNELS)
        self.register_buffer("sigma_init", torch.tensor(float(sigma_init)))
        self.log_sigma_ratio = LearnedScalar(lr_factor)

    @property
    def sigma(self) -> Tensor:
        """σ, a scalar in coordinate units."""
        return self.sigma_init * self.log_sigma_ratio().exp()

    def scalars(self) -> dict[str, Tensor]:
        """The scalars that are logged in training, by name."""
        return {"sigma": self.sigma}

    def log(self, storage: EventStorage) -> None:
        """Writes the scalars to Detectron2's event storage, once every 20 iterations."""
        if (storage.iter + 1) % _SCALAR_PERIOD == 0:
            for name, value in self.scalars().items():
                storage.put_scalar(f"semiconv/{name}", value.detach())
