"""The config keys of the plugin.

The model is under MODEL.SEMICONV, what InstanceColoring adds under MODEL.COLORING, and a backbone
under MODEL.TIMM. Some keys are under INPUT; the commands read OWN_DATA, EVALUATION and WANDB.
Everything else is Detectron2's own: classes, mask resolution, pooling and FPN levels come from its
keys.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from . import get_config_file

if TYPE_CHECKING:
    from detectron2.config import CfgNode


def add_semiconv_config(cfg: CfgNode) -> None:
    """Adds these keys with their defaults to `cfg`, in place. Those that are there are kept."""
    from detectron2.config import CfgNode

    for parent, name, add in (
        (cfg.MODEL, "SEMICONV", _add_model),
        (cfg.MODEL, "COLORING", _add_coloring),
        (cfg.MODEL, "TIMM", _add_timm),
        (cfg, "INPUT", _add_input),
        (cfg, "OWN_DATA", _add_own_data),
        (cfg, "EVALUATION", _add_evaluation),
        (cfg, "WANDB", _add_wandb),
    ):
        defaults = CfgNode()
        add(defaults)
        node = parent.setdefault(name, CfgNode())
        for key, value in defaults.items():
            node.setdefault(key, value)


def complete(cfg: CfgNode) -> CfgNode:
    """`cfg` itself if it has all keys; otherwise a copy with the defaults of the missing keys.

    Keys are missing if another program has merged a short YAML over Detectron2's own defaults.

    Raises:
        ValueError: MODEL.SEMICONV has an unknown key; the message names it.
    """
    from detectron2.config import get_cfg

    defaults = get_cfg()
    add_semiconv_config(defaults)
    nodes = ("SEMICONV", "COLORING", "TIMM")
    for key in cfg.MODEL.get("SEMICONV", {}):
        if key not in defaults.MODEL.SEMICONV:
            raise ValueError(explain_unknown(f"MODEL.SEMICONV.{key}"))
    if all(set(defaults.MODEL[name]) <= set(cfg.MODEL.get(name, {})) for name in nodes):
        return cfg
    completed = cfg.clone()
    completed.defrost()
    add_semiconv_config(completed)
    if cfg.is_frozen():
        completed.freeze()
    return completed


def read_preset(name: str) -> dict[str, object]:
    """The keys and values that a file of configs/presets sets, with full key names.

    Example:
        >>> read_preset("stock")["MODEL.SEMICONV.RESCORE"]
        False
    """
    import yaml

    content = yaml.safe_load(Path(get_config_file(f"presets/{name}")).read_text(encoding="utf-8"))
    return {f"MODEL.SEMICONV.{key}": value for key, value in content["MODEL"]["SEMICONV"].items()}


MASK_OPTIONS = ("MASK_SCORE", "EXCLUSIVE_MASKS")
"""Keys of MODEL.SEMICONV that also work on a stock model."""

REMOVED = (
    *("HIDDEN_LAYERS", "COORD_UNIT", "EMBEDDING_RESOLUTION", "SEED", "SEED_ROUNDS", "EVIDENCE"),
    *("KERNEL_PIXELS", "SHARED_PIXELS", "MASK_TARGETS"),
)
"""Keys of version 0.1 that were removed: they made no difference, or only one value was good."""


def explain_unknown(name: str) -> str:
    """The message for an unknown key, such as "MODEL.SEMICONV.SEED_ROUNDS"; "" for a key that does
    not belong to this plugin."""
    parent, _, key = name.rpartition(".")
    if parent != "MODEL.SEMICONV":
        return ""
    if key in REMOVED:
        return (
            f"{name} was removed in version 0.2: leave it out. docs/results/ablation_v0_1_0.md "
            "says why."
        )
    from detectron2.config import CfgNode

    known = CfgNode()
    _add_model(known)
    return f"{name} is not a key. The keys are: {', '.join(known)}."


def _add_model(node: CfgNode) -> None:
    # docs/explanation/method.md explains these keys; docs/results/ablation.md has their effects.
    # The defaults are the paper's system with the additions of this project.
    # configs/presets/paper.yaml turns the additions off.

    # --- The paper: section 3.5 of the article.

    # Rescore mask logits by the kernel. If False, masks are those of the stock head, and the two
    # losses below only shape the features. With both weights 0 it is the stock model.
    node.RESCORE = True
    # D, the number of channels of the embedding Φ. The first two are geometric.
    node.EMBEDDING_DIM = 8
    # Channels of the subnet's 1×1 convolution. 0: Φ is a single 1×1 convolution of the features.
    node.HIDDEN_DIM = 256
    # Factor on the gradient that goes from the subnet into the FPN. 0: no gradient.
    node.GRADIENT_SCALE = 0.1
    # How coordinates join the embedding: "additive", equations (3) and (6), or "none", which leaves
    # a purely convolutional embedding.
    node.MIXING = "additive"
    # "laplacian", equation (9), or "gaussian", equation (7).
    node.KERNEL = "laplacian"
    # σ at the start, in cells of the finest level, or of the region's level if EMBEDDING_LEVELS is
    # "assigned". σ is learned. A checkpoint that has a kernel brings its own σ.
    node.SIGMA_INIT = 10.0
    # Weight of the segment embedding loss, equation (5). Its unit is a cell: for a long worm it is
    # about 10, while the kernel's cross-entropy is 0.3. With weight 0 it is not computed.
    node.EMBEDDING_LOSS_WEIGHT = 0.003
    # Weight of the cross-entropy between the kernel K, or the share P, and the true mask.
    node.KERNEL_LOSS_WEIGHT = 1.0

    # --- What this project adds.

    # "summed": the maps of all FPN levels are summed into the finest, and regions are pooled from
    # there. "assigned": each region is pooled from the level that its size assigns it to, as mask
    # features are.
    node.EMBEDDING_LEVELS = "summed"
    # Seeds compete for pixels: P, the share of a seed, takes the place of K. The other seeds are
    # those of the true instances in training, and of the other detections at test. Needs
    # EMBEDDING_LEVELS "summed".
    node.COMPETITION = True
    # The gain g in ŝ = s + g · evidence. "learned": it starts at 0, so that an attached model is
    # exactly the stock model. "fixed": it is 1, as in the paper.
    node.GAIN = "learned"
    # Learning rate of subnet and kernel, as a multiple of that of all other parameters. It works
    # with any trainer and optimizer. With Adam, the learning rate of σ, gain and background is
    # another 30 times as large.
    node.LR_FACTOR = 10.0

    # --- Masks at test. Both keys also work on a stock model: RESCORE False and both weights 0.
    # Test-time augmentation ignores them.

    # Multiply each score by the IoU that is expected of the mask, from its own probabilities. All
    # scores become smaller; those of uncertain masks shrink most.
    node.MASK_SCORE = False
    # If several detections claim a pixel, give it to the one with the largest score times
    # probability there. This happens when masks are pasted into the image, so that a model with it
    # cannot be traced.
    node.EXCLUSIVE_MASKS = False


def _add_coloring(node: CfgNode) -> None:
    # The meta-architecture InstanceColoring. It also uses the keys of MODEL.SEMICONV on embedding,
    # kernel and losses. Their defaults were measured with regions: configs/own_coloring.yaml has
    # values for InstanceColoring. It ignores the keys on regions, seeds and rescoring.

    # The feature map of the backbone that is used: "p2" of an FPN, "res2" of a ResNet.
    node.IN_FEATURE = "p2"
    # "learned": a foreground head finds the pixels of instances and their classes. "image": the
    # foreground is given: the bright pixels of a binary image.
    node.FOREGROUND = "learned"
    # At test, a pixel is foreground if its probability is at least this; with "image", if its
    # brightness is, 0 to 1.
    node.FOREGROUND_THRESHOLD = 0.5
    # Weight of the cross-entropy of the foreground head.
    node.FOREGROUND_LOSS_WEIGHT = 1.0
    # Weight of the repulsive half of equation (1), with the margin M. The paper does not use it.
    node.MARGIN_LOSS_WEIGHT = 0.0
    # M, in cells of IN_FEATURE.
    node.MARGIN = 0.5
    # The losses of kernel and margin compare pixels with all instances or with all pixels. They use
    # at most this many random pixels of each image.
    node.MAX_PIXELS = 2048
    # How instances are made from the embedding: "greedy", "mean_shift", "kmeans" (it needs the
    # number of instances), or a decoder that you have registered in DECODER_REGISTRY.
    node.DECODER = "greedy"
    # Instances of fewer pixels than this, in the original image, are left out. Otherwise a single
    # pixel with an odd embedding would be an instance that agrees perfectly with itself.
    node.MIN_PIXELS = 10


def _add_timm(node: CfgNode) -> None:
    # An FPN on a classifier of timm: set MODEL.BACKBONE.NAME "build_timm_fpn_backbone".
    # MODEL.BACKBONE.FREEZE_AT 0 trains the whole classifier; 2 to 5 freeze it up to res2 to res5.

    # Name of the architecture in timm.
    node.NAME = "tf_efficientnet_lite0"
    # Checkpoint of the classifier, in PyTorch's format. "": random weights. Then set
    # MODEL.BACKBONE.FREEZE_AT 0 as well, or the first layers stay random.
    node.WEIGHTS = ""
    # Keep the statistics of batch normalization as they are in WEIGHTS.
    node.FREEZE_NORM = True


def _add_input(node: CfgNode) -> None:
    # Turn training images by 0, 90, 180 or 270 degrees at random. For images that have no up and
    # down, such as microscopy and aerial images.
    node.QUARTER_TURNS = False
    # Which values become 0 and 255 in images of more than 8 bits: "percentiles 0.1 99.9" of each
    # image, "bounds 100 3500" for all images alike, or "full" for the range of the file's type.
    # Images of 8 bits are taken as they are.
    node.INTENSITY_RANGE = "percentiles 0.1 99.9"
    # The page to read from files of several pages, such as TIFF stacks: (2,). The first page is 0.
    # Three pages become red, green and blue: (0, 1, 2). With (), such files are refused.
    node.PAGES = ()
    # The channel to read, or three of them, in the same way. With (), all channels of grey and RGB
    # images are read, alpha is left out, and images with other channels are refused.
    node.CHANNELS = ()
    # Median height and width of the training images, in pixels. Training sets it. Tiles of large
    # images take their scale and size from it. (0, 0): not known.
    node.TRAINED_SIZE = (0, 0)
    # Length in pixels that 19 of 20 training instances do not exceed: the longer side of their
    # boxes. Training sets it. Tiles of large images overlap by it. 0: not known.
    node.TRAINED_LENGTH = 0


def _add_own_data(node: CfgNode) -> None:
    # Data of your own, in COCO's format, without a line of Python.

    # Annotations to train with. They take the place of DATASETS.TRAIN.
    node.TRAIN_JSON = ""
    # The folder of the images. File names in TRAIN_JSON are relative to it.
    node.TRAIN_IMAGES = ""
    # Annotations to test with. They take the place of DATASETS.TEST.
    node.TEST_JSON = ""
    # The folder of the images. File names in TEST_JSON are relative to it. "": TRAIN_IMAGES.
    node.TEST_IMAGES = ""


def _add_evaluation(node: CfgNode) -> None:
    # Any of "coco" (mask and box AP), "boundary" (boundary AP), "region" (AP^r), "s" (S and avS),
    # "dice" (best Dice, foreground Dice, difference in count: the measures of leaf segmentation),
    # "difficulty" (AP by contact with neighbours and by elongation), "errors" (errors by kind).
    node.MEASURES = ("coco",)
    # Only detections with at least this score count in S and Dice. Used if THRESHOLD_DATASET is "".
    node.SCORE_THRESHOLD = 0.5
    # The name of a dataset on which that score is chosen, for the largest avS. Name the training
    # data, never a dataset of DATASETS.TEST. The model is run on it before each evaluation. For
    # data of your own, the name is exactly the path in OWN_DATA.TRAIN_JSON.
    node.THRESHOLD_DATASET = ""


def _add_wandb(node: CfgNode) -> None:
    # The project of Weights & Biases to which training is logged, in addition to TensorBoard. It
    # needs `pip install wandb`. "": only TensorBoard.
    node.PROJECT = ""
