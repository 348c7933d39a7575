"""Semi-convolutional operators for instance segmentation, as a Detectron2 plugin.

Importing this package registers ROI heads, a meta-architecture and datasets with Detectron2. If
Detectron2 is not imported yet, they are registered when it is: this package alone loads quickly.
`semiconv_d2.ops` needs only PyTorch.
"""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ._after_import import after_import

if TYPE_CHECKING:  # at run time, `__getattr__` imports these
    from .config import add_semiconv_config as add_semiconv_config
    from .inference.predictor import Predictor as Predictor
    from .modeling import Competition as Competition
    from .modeling import EmbeddingHead as EmbeddingHead
    from .modeling import InstanceColoring as InstanceColoring
    from .modeling import LearnedKernel as LearnedKernel
    from .modeling import RegionEmbedding as RegionEmbedding
    from .modeling import SeedKernel as SeedKernel
    from .modeling import SemiConvCascadeROIHeads as SemiConvCascadeROIHeads
    from .modeling import SemiConvMaskBranch as SemiConvMaskBranch
    from .modeling import SemiConvMixin as SemiConvMixin
    from .modeling import SemiConvROIHeads as SemiConvROIHeads

__version__ = "0.2.0"

_NEEDS_DETECTRON2 = {
    "Competition": "semiconv_d2.modeling",
    "EmbeddingHead": "semiconv_d2.modeling",
    "InstanceColoring": "semiconv_d2.modeling",
    "LearnedKernel": "semiconv_d2.modeling",
    "Predictor": "semiconv_d2.inference.predictor",
    "RegionEmbedding": "semiconv_d2.modeling",
    "SeedKernel": "semiconv_d2.modeling",
    "SemiConvCascadeROIHeads": "semiconv_d2.modeling",
    "SemiConvMaskBranch": "semiconv_d2.modeling",
    "SemiConvMixin": "semiconv_d2.modeling",
    "SemiConvROIHeads": "semiconv_d2.modeling",
    "add_semiconv_config": "semiconv_d2.config",
}
_HAS_DETECTRON2 = find_spec("detectron2") is not None

__all__ = ["get_config_file", *_NEEDS_DETECTRON2]


def get_config_file(name: str) -> str:
    """Path of a config that comes with the package: "voc_semiconv", "lazy/voc_semiconv.py", …

    Raises:
        ValueError: no config has that name; the message lists all names.
    """
    package = Path(__file__).parent
    # configs/ is at the top level of a clone, and inside an installed package.
    folder = next(f for f in (package / "configs", package.parent / "configs") if f.is_dir())
    path = folder / (name if name.endswith((".yaml", ".py")) else f"{name}.yaml")
    if not path.is_file():
        configs = sorted(
            p.relative_to(folder).as_posix()
            for p in folder.rglob("*")
            if p.suffix in (".yaml", ".py")
        )
        raise ValueError(f"There is no config {name!r}. There are: {', '.join(configs)}.")
    return str(path)


def __getattr__(name: str):
    if name not in _NEEDS_DETECTRON2:
        raise AttributeError(f"module 'semiconv_d2' has no attribute {name!r}")
    if not _HAS_DETECTRON2:
        raise ImportError(
            f"semiconv_d2.{name} needs Detectron2, which is not installed. Install it with: "
            "pip install --no-build-isolation "
            "'git+https://github.com/facebookresearch/detectron2.git'"
        )
    return getattr(import_module(_NEEDS_DETECTRON2[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *_NEEDS_DETECTRON2]


after_import(
    "detectron2.data", lambda: import_module("semiconv_d2.data").register_prepared_datasets()
)
after_import("detectron2.modeling", lambda: import_module("semiconv_d2.modeling"))
