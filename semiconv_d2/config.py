"""The plugin's config keys: the model's under MODEL.SEMICONV, under MODEL.COLORING what
InstanceColoring has beside them, and under MODEL.TIMM a backbone; some under INPUT, and OWN_DATA,
EVALUATION and WANDB, which the commands read. Everything else is Detectron2's own: classes, mask
resolution, pooling and FPN levels come from the keys that it has for them."""

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
    """`cfg` itself if it has all keys; otherwise a copy with the defaults of those that it lacks:
    a short YAML that another program has merged over Detectron2's own defaults has but a few.

    Raises:
        ValueError: MODEL.SEMICONV has a key that is none; the message names it.
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
    """The keys that a fragment of configs/presets sets, by their names with dots.

    Example:
        >>> read_preset("stock")["MODEL.SEMICONV.RESCORE"]
        False
    """
    import yaml

    content = yaml.safe_load(Path(get_config_file(f"presets/{name}")).read_text(encoding="utf-8"))
    return {f"MODEL.SEMICONV.{key}": value for key, value in content["MODEL"]["SEMICONV"].items()}


REMOVED = (
    *("HIDDEN_LAYERS", "COORD_UNIT", "EMBEDDING_RESOLUTION", "SEED", "SEED_ROUNDS", "EVIDENCE"),
    *("KERNEL_PIXELS", "SHARED_PIXELS", "MASK_TARGETS"),
)
"""Keys of version 0.1 that made no difference, or that only one value was good for."""


def explain_unknown(name: str) -> str:
    """What to say of a name that is no key, such as "MODEL.SEMICONV.SEED_ROUNDS"; "" for one that
    has nothing to do with this plugin."""
    parent, _, key = name.rpartition(".")
    if parent != "MODEL.SEMICONV":
        return ""
    if key in REMOVED:
        return (
            f"{name} is gone since version 0.2 (docs/results/ablation.md tells why): leave it out."
        )
    from detectron2.config import CfgNode

    known = CfgNode()
    _add_model(known)
    return f"{name} is no key. There are: {', '.join(known)}."


def _add_model(node: CfgNode) -> None:
    # What they do is in docs/explanation/method.md, what each is worth in docs/results/ablation.md.
    # Defaults are the paper's system with what this project adds to it, which
    # configs/presets/paper.yaml takes off.

    # --- The paper: section 3.5 of the article.

    # Whether mask logits are rescored by the kernel. False: masks stay those of the stock head, and
    # the two losses below act as auxiliary ones; with both weights 0 this is the stock model.
    node.RESCORE = True
    # D, channels of the embedding Φ; the first two are geometric.
    node.EMBEDDING_DIM = 8
    # Channels of the subnet's 1×1 convolution. 0: Φ is a single 1×1 convolution of the features.
    node.HIDDEN_DIM = 256
    # Gradient of the subnet into the FPN, as a factor. 0 leaves the FPN to the other losses.
    node.GRADIENT_SCALE = 0.1
    # Ψ = f(Φ, u): "additive", equations (3) and (6), or "none", the purely convolutional ablation.
    node.MIXING = "additive"
    # "laplacian", equation (9), or "gaussian", equation (7).
    node.KERNEL = "laplacian"
    # σ at the start, in cells of the finest level, or of a region's with EMBEDDING_LEVELS
    # "assigned"; learned. Weights that have a kernel bring their own.
    node.SIGMA_INIT = 10.0
    # The segment embedding loss, equation (5). It counts cells: about ten for a long worm, where
    # the kernel's cross-entropy is 0.3. A loss of weight 0 is left out.
    node.EMBEDDING_LOSS_WEIGHT = 0.003
    # Cross-entropy between K, or P, and the ground-truth mask of the region.
    node.KERNEL_LOSS_WEIGHT = 1.0

    # --- What this project adds.

    # Regions are pooled from all levels of Φ "summed" into the finest, or each from the level that
    # its size has "assigned" it to, as mask features are.
    node.EMBEDDING_LEVELS = "summed"
    # Whether a seed has to share pixels out with those of the other instances: P, its share, takes
    # the place of K. In training these are the true instances, at test the other detections. Needs
    # EMBEDDING_LEVELS "summed".
    node.COMPETITION = True
    # g in ŝ = s + g · evidence. "learned": from 0, so that a model is exactly the stock one at the
    # moment of attaching. "fixed": 1, the paper's.
    node.GAIN = "learned"
    # Learning rate of subnet and kernel, as a multiple of that of all else, with whatever trainer
    # and optimizer; with Adam σ, gain and background learn 30 times as fast again.
    node.LR_FACTOR = 10.0

    # --- Masks at test. Both work with RESCORE False and without losses too, on a stock model.
    # Test-time augmentation leaves them out.

    # Whether scores are multiplied by the IoU that masks can be expected to have, by their own
    # probabilities. Scores become smaller, and those of doubtful masks most.
    node.MASK_SCORE = False
    # Whether a pixel that several detections claim is left to the one whose score times probability
    # is largest there, where masks are pasted into the image. A traced model leaves it out.
    node.EXCLUSIVE_MASKS = False


def _add_coloring(node: CfgNode) -> None:
    # The meta-architecture InstanceColoring. The keys of MODEL.SEMICONV on embedding, kernel and
    # losses hold for it too, but not their defaults, which were measured with regions: see
    # configs/own_coloring.yaml. Those on regions, seeds and rescoring mean nothing to it.

    # The backbone's feature map that pixels are coloured from: "p2" of an FPN, "res2" of a ResNet.
    node.IN_FEATURE = "p2"
    # "learned": a foreground head finds the pixels of instances, and their classes. "image": the
    # foreground is given, as the brightness of a binary image.
    node.FOREGROUND = "learned"
    # From which probability on, or brightness from 0 to 1, a pixel is foreground at test.
    node.FOREGROUND_THRESHOLD = 0.5
    # Cross-entropy of the foreground head.
    node.FOREGROUND_LOSS_WEIGHT = 1.0
    # The repulsive half of equation (1), with the margin M. The paper does without.
    node.MARGIN_LOSS_WEIGHT = 0.0
    # M, in cells of IN_FEATURE.
    node.MARGIN = 0.5
    # Pixels of instances drawn at random from each image for the losses that compare pixels with
    # all instances, or with all pixels: those of the kernel and the margin.
    node.MAX_PIXELS = 2048
    # What makes instances of the embedding: "greedy", "mean_shift", "kmeans" (which has to be told
    # their number), or one that you have registered in DECODER_REGISTRY.
    node.DECODER = "greedy"
    # Instances of fewer pixels than this, in the image as it came, are left out: a single pixel
    # with an odd embedding agrees with itself perfectly.
    node.MIN_PIXELS = 10


def _add_timm(node: CfgNode) -> None:
    # MODEL.BACKBONE.NAME "build_timm_fpn_backbone": a classifier of timm below the FPN.
    # MODEL.BACKBONE.FREEZE_AT is 0, all of it is trained, or 2 to 5: nothing is up to res2 to res5.

    # Of timm's architecture.
    node.NAME = "tf_efficientnet_lite0"
    # Checkpoint of the classifier, in PyTorch's format. "": random weights; to train from them set
    # MODEL.BACKBONE.FREEZE_AT 0, or the first ones stay random.
    node.WEIGHTS = ""
    # Whether its batch normalisation keeps the statistics of these weights.
    node.FREEZE_NORM = True


def _add_input(node: CfgNode) -> None:
    # Whether images are turned by 0, 90, 180 or 270 degrees at random, in training: for data
    # without an up and down, such as microscopy and aerial images.
    node.QUARTER_TURNS = False
    # Which values become 0 and 255 in images of more than 8 bits in a channel: "percentiles 0.1
    # 99.9" of each image, "bounds 100 3500" for the same values in all of them, or "full" for the
    # least and the greatest number of the file's type. Images of 8 bits are taken as they are.
    node.INTENSITY_RANGE = "percentiles 0.1 99.9"
    # The page that counts in files of several pages, such as TIFF stacks, from 0 on: (2,). Three
    # pages become red, green and blue: (0, 1, 2). With none, such files are refused.
    node.PAGES = ()
    # The channel that counts, or three of them, likewise. With none, all channels of grey and RGB
    # images count, alpha is left out, and images with other channels are refused.
    node.CHANNELS = ()


def _add_own_data(node: CfgNode) -> None:
    # Data of your own, without a line of Python: annotations to train with, in COCO's format. They
    # take the place of DATASETS.TRAIN.
    node.TRAIN_JSON = ""
    # The folder that the file names in TRAIN_JSON start from.
    node.TRAIN_IMAGES = ""
    # Annotations to test with. They take the place of DATASETS.TEST.
    node.TEST_JSON = ""
    # The folder that the file names in TEST_JSON start from. "": TRAIN_IMAGES.
    node.TEST_IMAGES = ""


def _add_evaluation(node: CfgNode) -> None:
    # Any of "coco" (mask and box AP), "boundary" (boundary AP), "region" (AP^r), "s" (S and avS),
    # "difficulty" (AP by contact with neighbours and by elongation), "errors" (errors by kind).
    node.MEASURES = ("coco",)
    # From which score on detections count in S, unless THRESHOLD_DATASET says where to choose it.
    node.SCORE_THRESHOLD = 0.5
    # Name of a dataset that the score is chosen on, for the largest avS: the one trained on, never
    # one of DATASETS.TEST. The model is run on it before each evaluation. "": SCORE_THRESHOLD. Data
    # of your own have the name that OWN_DATA.TRAIN_JSON gives, letter for letter.
    node.THRESHOLD_DATASET = ""


def _add_wandb(node: CfgNode) -> None:
    # Project of Weights & Biases that training is logged to, beside TensorBoard; needs
    # `pip install wandb`. "": none.
    node.PROJECT = ""
