"""The optimizer: Detectron2's own, with the plugin's parameters in groups of their own."""

from detectron2.config import CfgNode
from detectron2.solver import build_optimizer as build_stock_optimizer
from torch import nn
from torch.optim import Optimizer

from ..modeling import EmbeddingHead, LearnedKernel


def build_optimizer(cfg: CfgNode, model: nn.Module) -> Optimizer:
    """Detectron2's optimizer for `cfg`, with MODEL.SEMICONV.LR_FACTOR applied.

    σ, the gain and the background b also lose their weight decay, which would pull them back to
    their start.
    """
    optimizer = build_stock_optimizer(cfg, model)
    factor = cfg.MODEL.SEMICONV.LR_FACTOR
    for module in model.modules():
        if isinstance(module, EmbeddingHead):
            _regroup(optimizer, module, lr_factor=factor)
        elif isinstance(module, LearnedKernel):
            _regroup(optimizer, module, lr_factor=factor, weight_decay=0.0)
    return optimizer


def learning_rate_factor(name: str, factor: float = 10.0) -> float:
    """`factor` for the plugin's parameters, 1 for all others: in a LazyConfig, the `lr_factor_func`
    of Detectron2's `get_default_optimizer_params`.

    Args:
        name: of the parameter, in a model with `SemiConvMixin`.
        factor: MODEL.SEMICONV.LR_FACTOR's default; another one by `functools.partial`.
    """
    return factor if {"embedding_head", "seed_kernel"} & set(name.split(".")) else 1.0


def _regroup(optimizer: Optimizer, module: nn.Module, *, lr_factor: float, **options) -> None:
    """Moves the parameters of `module` from each group of `optimizer` to a changed copy of it."""
    chosen = {id(p) for p in module.parameters()}
    for group in list(optimizer.param_groups):
        moved = [p for p in group["params"] if id(p) in chosen]
        if moved:
            group["params"] = [p for p in group["params"] if id(p) not in chosen]
            changes = {"params": moved, "lr": group["lr"] * lr_factor, **options}
            optimizer.add_param_group({**group, **changes})
    optimizer.param_groups[:] = [g for g in optimizer.param_groups if g["params"]]
