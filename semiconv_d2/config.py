"""The plugin's config keys: the model's under MODEL.SEMICONV, under MODEL.COLORING what
InstanceColoring has beside them, and under MODEL.TIMM a backbone; INPUT.QUARTER_TURNS, OWN_DATA,
EVALUATION and WANDB, which the tools read. Everything else is Detectron2's own: classes, mask
resolution, pooling and FPN levels come from the keys that it has for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from detectron2.config import CfgNode


def add_semiconv_config(cfg: CfgNode) -> None:
    """Adds these keys with their defaults to `cfg`, in place. Those that are there are kept."""
    from detectron2.config import CfgNode

    for parent, name, add in (
        (cfg.MODEL, "SEMICONV", _add_model),
        (cfg.MODEL, "COLORING", _add_coloring),
        (cfg.MODEL, "TIMM", _add_timm),
        (cfg, "OWN_DATA", _add_own_data),
        (cfg, "EVALUATION", _add_evaluation),
        (cfg, "WANDB", _add_wandb),
    ):
        if name not in parent:
            parent[name] = CfgNode()
            add(parent[name])
    if "QUARTER_TURNS" not in cfg.INPUT:
        # Whether images are turned by 0, 90, 180 or 270 degrees at random, in training: for data
        # without an up and down, such as microscopy and aerial images.
        cfg.INPUT.QUARTER_TURNS = False


def _add_model(node: CfgNode) -> None:
    # Whether mask logits are rescored by the kernel. False: masks stay those of the stock head, and
    # the two losses below act as auxiliary ones; with both weights 0 this is the stock model.
    node.RESCORE = True

    # What they do is in docs/method.md; the paper's values, as read here, are in
    # configs/voc_paper.yaml. What is said to cost AP does so on held-out wells of BBBC010, where
    # these defaults are 9 AP above the stock model; less than 3 AP may be chance, and ties. The
    # rows are in docs/ablation.md.

    # --- The embedding Φ: 1×1 convolution, ReLU, 3×3 convolutions, shared by all levels in use.
    # D, channels of the embedding; the first two are geometric. 2 costs 3.6 AP; 4 and 16 tie.
    node.EMBEDDING_DIM = 8
    # Channels of the 1×1 convolution. 0: Φ is a single 1×1 convolution of the features. 256
    # ties.
    node.HIDDEN_DIM = 64
    # Layers before the last one: the 1×1 convolution, and 3×3 ones of HIDDEN_DIM channels after it.
    # 1 and 3 tie.
    node.HIDDEN_LAYERS = 2
    # Gradient of the subnet into the FPN, as a factor. 0 leaves the FPN to the other losses. 0,
    # 0.01 and 1 tie.
    node.GRADIENT_SCALE = 0.1
    # Learning rate of subnet and kernel, as a multiple of that of all else, with whatever trainer
    # and optimizer; with Adam σ, gain and background learn 30 times as fast again. 1 costs 8.9 AP,
    # 30 ties.
    node.LR_FACTOR = 10.0

    # --- The region's embedding Ψ = f(Φ, u).
    # "additive", equations (3) and (6), or "none", the purely convolutional ablation, which costs
    # 7.1 AP.
    node.MIXING = "additive"
    # Unit of coordinates, distances and σ: "stride", that of the level a region is pooled from, or
    # "pixel", which ties, with σ from 40.
    node.COORD_UNIT = "stride"
    # "finest": pooled always from the finest level; "assigned": from the one that the region's size
    # assigns it to, as mask features are, which ties without competition.
    node.EMBEDDING_LEVELS = "finest"
    # Side of the pooled embedding. 0: that of the mask logits. Another number: where masks are
    # rescored the logits are resized to it, so that even a gain of 0 changes masks a little. 28 for
    # masks of 56 costs 6.0 AP.
    node.EMBEDDING_RESOLUTION = 0

    # --- Seed and kernel.
    # Seed of the first round at test: "soft", the expectation under the softmax of the mask logits,
    # or "hard", the embedding at the largest logit, which costs 8.7 AP where it is the only round.
    # Training always uses the soft one.
    node.SEED = "soft"
    # How often seeds are found. 1: from the mask logits, as in the paper. 2 or more: again, as the
    # means over the masks that the last seeds have made. 1 and 3 tie.
    node.SEED_ROUNDS = 2
    # "laplacian", equation (9), or "gaussian", equation (7), which ties.
    node.KERNEL = "laplacian"
    # σ at the start, in coordinate units; learned. Weights that have a kernel bring their own. 3
    # ties. From 100, with which attaching by a fixed gain costs least, it costs 3.6 AP.
    node.SIGMA_INIT = 10.0
    # Whether a seed has to share pixels out with those of the other instances: P, its share, takes
    # the place of K. In training these are the true instances, at test the other detections. Needs
    # EMBEDDING_LEVELS "finest". False costs 5.1 AP.
    node.COMPETITION = True
    # "logit": log P − log(1 − P), which can lower logits and raise them. "log": log P, which can
    # only lower them; with K for P the paper's. "log" ties.
    node.EVIDENCE = "logit"
    # g in ŝ = s + g · evidence. "learned": from 0, so that a model is exactly the stock one at the
    # moment of attaching. "fixed": 1, the paper's, which ties after fine-tuning.
    node.GAIN = "learned"

    # --- Losses. A loss of weight 0 is left out.
    # The segment embedding loss, equation (5), which the paper has. 1 costs 6.3 AP.
    node.EMBEDDING_LOSS_WEIGHT = 0.0
    # Cross-entropy between K, or P, and the ground-truth mask of the region. 0 costs 7.9 AP.
    node.KERNEL_LOSS_WEIGHT = 1.0
    # Pixels the kernel loss runs over: all of the "region", or those of "instances" only, the
    # region's own against all others'. "instances" costs 4.3 AP.
    node.KERNEL_PIXELS = "region"
    # Pixels that an instance shares with another one: "ignore" leaves them out of both losses,
    # "count" takes them as its own, which ties. An instance that has no others keeps them, but in
    # InstanceColoring, where it then teaches nothing.
    node.SHARED_PIXELS = "ignore"

    # --- Masks; all three are options of SemiConvROIHeads, and work with RESCORE False and without
    # losses too, on a stock model. Test-time augmentation leaves out the last two.
    # What mask logits are trained towards: "hard", whether most of a cell is covered, which is
    # Detectron2's, or "soft", how much of it, which ties.
    node.MASK_TARGETS = "hard"
    # Whether scores are multiplied by the IoU that masks can be expected to have, by their own
    # probabilities, at test. Scores become smaller, and those of doubtful masks most. On BBBC010
    # worth 2 AP to this model and 4 to the stock one; off, so that attaching changes nothing.
    node.MASK_SCORE = False
    # Whether a pixel that several detections claim is left to the one whose score times probability
    # is largest there, at test, where masks are pasted into the image. A traced model leaves it
    # out.
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
    # M, in coordinate units.
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
