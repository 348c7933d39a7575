"""MODEL.SEMICONV.LR_FACTOR."""

import logging

from detectron2.config import CfgNode

logger = logging.getLogger(__name__)


def read_lr_factor(cfg: CfgNode) -> float:
    """The `lr_factor` of `EmbeddingHead` and `LearnedKernel`. Says so where clipping undoes it."""
    factor, clipping = cfg.MODEL.SEMICONV.LR_FACTOR, cfg.SOLVER.CLIP_GRADIENTS
    if factor > 1 and clipping.ENABLED:
        logger.warning(
            "SOLVER.CLIP_GRADIENTS cuts gradients down to %g, also those that MODEL.SEMICONV."
            "LR_FACTOR multiplies by %g: in training, the plugin's parameters learn less than that "
            "much faster. For fine-tuning, SOLVER.CLIP_GRADIENTS.ENABLED False does.",
            clipping.CLIP_VALUE,
            factor,
        )
    return factor
