"""Instance colouring without boxes (sections 3.1 to 3.4): pixels of one instance get the same
embedding, and a decoder groups them into instances.

Shapes: B images, C classes, D embedding channels, N instances; H and W of an image, H_l and W_l of
a feature map.
"""

from __future__ import annotations

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY, Backbone, build_backbone
from detectron2.structures import ImageList, Instances
from detectron2.utils import comm
from detectron2.utils.events import get_event_storage
from torch import Tensor, nn

from ...config import complete
from ...ops import MIXINGS, map_coordinates, mix, sample_map
from ...ops.checks import at_least_float32, check_choice
from ...visualization.embedding import draw_coloring
from ..embedding_head import EmbeddingHead
from ..ground_truth import count_masks
from ..learned_kernel import LearnedKernel
from .decoders import decode, decoder_names
from .foreground import build_foreground_head, classify_given
from .inputs import image_name, true_masks
from .losses import ColoringLosses, foreground_loss
from .predictions import Coloring, to_instances
from .segments import Pixels


@META_ARCH_REGISTRY.register()
class InstanceColoring(nn.Module):
    """A backbone, an embedding head on one of its feature maps, a foreground head if the
    foreground is learned, and a decoder.

    Φ and the foreground are interpolated to pixels: those of the input in training, those of the
    output at test. Coordinates are added after that, so masks are as fine as the image.

    Losses: `loss_embedding`, `loss_kernel`, `loss_foreground` and `loss_margin`, see `losses`. A
    loss of weight 0 is left out.
    """

    @configurable
    def __init__(
        self,
        *,
        backbone: Backbone,
        in_feature: str,
        embedding_head: EmbeddingHead,
        kernel: LearnedKernel,
        foreground_head: nn.Module | None,
        pixel_mean: tuple[float, ...],
        pixel_std: tuple[float, ...],
        num_classes: int = 1,
        foreground_threshold: float = 0.5,
        mixing: str = "additive",
        embedding_loss_weight: float = 1.0,
        kernel_loss_weight: float = 1.0,
        foreground_loss_weight: float = 1.0,
        margin_loss_weight: float = 0.0,
        margin: float = 0.5,
        max_pixels: int = 2048,
        decoder: str = "greedy",
        min_pixels: int = 10,
        max_instances: int = 100,
        vis_period: int = 0,
    ):
        """
        Args:
            in_feature: name of the backbone's feature map to use.
            kernel: its σ is the scale of the decoder; learned if `kernel_loss_weight` is not 0.
            foreground_head: from a feature map to logits (B, C, H_l, W_l). None: the foreground is
                the brightness of the image.
            pixel_mean, pixel_std: of each channel of the image.
            foreground_threshold: smallest probability or brightness, in [0, 1], of a foreground
                pixel.
            mixing: see `ops.mix`.
            margin: M of `ops.margin_loss`, in cells of the feature map.
            max_pixels: pixels drawn at random from an image for the kernel and margin losses.
            decoder: name in `DECODER_REGISTRY`.
            min_pixels: smallest instance in the output, in pixels; smaller ones are dropped.
            max_instances: most instances per image; those with the highest scores are kept.
            vis_period: iterations between pictures for TensorBoard; 0: no pictures.
        """
        super().__init__()
        shapes = backbone.output_shape()
        if in_feature not in shapes:
            raise ValueError(
                f"MODEL.COLORING.IN_FEATURE is {in_feature!r}; the backbone has "
                f"{', '.join(map(repr, shapes))}."
            )
        if foreground_head is None and num_classes != 1:
            raise ValueError(
                f"There are {num_classes} classes, but brightness as the foreground cannot tell "
                "them apart: set MODEL.COLORING.FOREGROUND to 'learned'."
            )
        if not 0 <= foreground_threshold <= 1:
            raise ValueError(
                f"FOREGROUND_THRESHOLD is {foreground_threshold}; it must be from 0 to 1."
            )
        for name, number in (
            ("MODEL.COLORING.MAX_PIXELS", max_pixels),
            ("MODEL.COLORING.MIN_PIXELS", min_pixels),
            ("TEST.DETECTIONS_PER_IMAGE", max_instances),
        ):
            if number < 1:
                raise ValueError(f"{name} is {number}; it must be at least 1.")
        self.losses = ColoringLosses(
            embedding_weight=embedding_loss_weight,
            kernel_weight=kernel_loss_weight,
            foreground_weight=foreground_loss_weight if foreground_head is not None else 0.0,
            margin_weight=margin_loss_weight,
            margin=margin,
            max_pixels=max_pixels,
        )
        if foreground_head is not None and foreground_loss_weight == 0:
            raise ValueError("FOREGROUND_LOSS_WEIGHT is 0, so the foreground head would not learn.")
        self.backbone = backbone
        self.in_feature = in_feature
        self.stride = shapes[in_feature].stride
        self.embedding_head = embedding_head
        self.foreground_head = foreground_head
        self.kernel = kernel.requires_grad_(kernel_loss_weight > 0)
        self.num_classes = num_classes
        self.foreground_threshold = foreground_threshold
        self.mixing = check_choice("MIXING", mixing, MIXINGS)
        self.decoder = check_choice("DECODER", decoder, decoder_names())
        self.min_pixels = min_pixels
        self.max_instances = max_instances
        self.vis_period = vis_period
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean).view(-1, 1, 1), False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std).view(-1, 1, 1), False)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        cfg = complete(cfg)
        node, own = cfg.MODEL.SEMICONV, cfg.MODEL.COLORING
        if not cfg.MODEL.MASK_ON:
            raise ValueError("InstanceColoring learns from masks: set MODEL.MASK_ON to True.")
        if own.FOREGROUND == "image" and not node.GRADIENT_SCALE > 0:
            raise ValueError(
                f"MODEL.SEMICONV.GRADIENT_SCALE is {node.GRADIENT_SCALE}, so the embedding would "
                "not train the backbone, and there is no foreground head to train it. Set it to "
                "1.0."
            )
        backbone = build_backbone(cfg)
        shape = backbone.output_shape().get(own.IN_FEATURE)
        channels = shape.channels if shape else 1  # without it, __init__ raises an error
        num_classes = cfg.MODEL.ROI_HEADS.NUM_CLASSES
        if num_classes < 1:
            raise ValueError(
                f"MODEL.ROI_HEADS.NUM_CLASSES is {num_classes}; set it to the number of classes, "
                "which InstanceColoring reads there too. The tools replace 0 by the number of "
                "classes in the data."
            )
        foreground_head = build_foreground_head(cfg, channels)
        return {
            "backbone": backbone,
            "in_feature": own.IN_FEATURE,
            "embedding_head": EmbeddingHead(
                in_channels=channels,
                hidden_dim=node.HIDDEN_DIM,
                embedding_dim=node.EMBEDDING_DIM,
                gradient_scale=node.GRADIENT_SCALE,
                lr_factor=node.LR_FACTOR,
            ),
            "kernel": LearnedKernel(
                kernel=node.KERNEL, sigma_init=node.SIGMA_INIT, lr_factor=node.LR_FACTOR
            ),
            "foreground_head": foreground_head,
            "pixel_mean": cfg.MODEL.PIXEL_MEAN,
            "pixel_std": cfg.MODEL.PIXEL_STD,
            "num_classes": num_classes,
            "foreground_threshold": own.FOREGROUND_THRESHOLD,
            "mixing": node.MIXING,
            "embedding_loss_weight": node.EMBEDDING_LOSS_WEIGHT,
            "kernel_loss_weight": node.KERNEL_LOSS_WEIGHT,
            "foreground_loss_weight": own.FOREGROUND_LOSS_WEIGHT,
            "margin_loss_weight": own.MARGIN_LOSS_WEIGHT,
            "margin": own.MARGIN,
            "max_pixels": own.MAX_PIXELS,
            "decoder": own.DECODER,
            "min_pixels": own.MIN_PIXELS,
            "max_instances": cfg.TEST.DETECTIONS_PER_IMAGE,
            "vis_period": cfg.VIS_PERIOD,
        }

    @property
    def device(self) -> torch.device:
        return self.pixel_mean.device

    def forward(self, batched_inputs: list[dict]) -> dict[str, Tensor] | list[dict]:
        """
        Args:
            batched_inputs: Detectron2's dicts of images. All have "image", (3, h, w). In training
                they have "instances" with `gt_masks`. At test they may have "height" and "width",
                the size of the output, otherwise h and w; "foreground", (H, W) boolean, which
                replaces the model's own foreground; and "num_instances", which "kmeans" needs.

        Returns:
            In training the losses. At test [{"instances": Instances}] with `pred_masks` (N, H, W),
            `pred_boxes`, `scores` and `pred_classes`, the highest score first.

        Raises:
            ValueError: embedding or foreground of an image is not finite, the given foreground
                has another size, or the decoder needs the number of instances and does not get it.
                The message names the image.
        """
        if self.training:
            return self._training_losses(batched_inputs)
        return [
            {"instances": self.decode(x, coloring)}
            for x, coloring in zip(batched_inputs, self.color(batched_inputs), strict=True)
        ]

    @torch.no_grad()
    def color(self, batched_inputs: list[dict]) -> list[Coloring]:
        """Computes Ψ and the foreground of images, at the resolution of the output."""
        images, phi, logits = self._maps(batched_inputs)
        colorings = []
        for i, (x, (height, width)) in enumerate(
            zip(batched_inputs, images.image_sizes, strict=True)
        ):
            size = x.get("height", height), x.get("width", width)
            points = self._pixel_centres(*size)
            points = points * points.new_tensor([width / size[1], height / size[0]])
            if logits is None:
                brightness = x["image"].to(points).mean(dim=0, keepdim=True) / 255
                foreground = sample_map(brightness, points)
            else:
                foreground = sample_map(logits[i], points, self.stride).sigmoid()
            if "foreground" in x:
                given = x["foreground"].to(points)
                foreground = classify_given(given, foreground, image_name(x))
            colorings.append(Coloring(self._embed(phi[i], points), foreground))
        return colorings

    def find_foreground(self, coloring: Coloring) -> Tensor:
        """The pixels that belong to an instance of any class, (H, W) boolean."""
        return coloring.foreground.amax(dim=0) >= self.foreground_threshold

    def decode(self, image: dict, coloring: Coloring) -> Instances:
        """Decodes the result of `color` for one image into instances; see `forward`."""
        if not coloring.foreground.isfinite().all():
            raise ValueError(f"image {image_name(image)}: the foreground is not finite.")
        chosen = self.find_foreground(coloring)
        pixels = Pixels(
            coloring.embedding[:, chosen].T.contiguous(),
            coloring.foreground[:, chosen].amax(dim=0),
            self.kernel.sigma.item(),
            self.kernel.kernel,
        )
        try:
            segments = decode(
                pixels,
                self.decoder,
                max_instances=self.max_instances,
                min_pixels=self.min_pixels,
                count=image.get("num_instances"),
            )
        except ValueError as error:
            raise ValueError(f"image {image_name(image)}: {error}") from error
        return to_instances(segments, chosen, coloring.foreground[:, chosen])

    def _maps(self, batched_inputs: list[dict]) -> tuple[ImageList, Tensor, Tensor | None]:
        """The images of a batch; Φ, (B, D, H_l, W_l); and logits of the foreground,
        (B, C, H_l, W_l), if it is learned."""
        normalised = [
            (x["image"].to(self.device) - self.pixel_mean) / self.pixel_std for x in batched_inputs
        ]
        images = ImageList.from_tensors(
            normalised,
            self.backbone.size_divisibility,
            padding_constraints=self.backbone.padding_constraints,
        )
        features = self.backbone(images.tensor)
        [phi] = self.embedding_head([features[self.in_feature]])
        if self.training and comm.get_world_size() > 1:
            # Distributed training needs a gradient for every parameter, also of other levels.
            phi = phi + sum(x.sum() for x in features.values()) * 0
        logits = None
        if self.foreground_head is not None:
            logits = at_least_float32(self.foreground_head(features[self.in_feature]))
        return images, at_least_float32(phi), logits

    def _pixel_centres(self, height: int, width: int) -> Tensor:
        """The centres of the pixels of an image, x and y in its pixels, (H, W, 2)."""
        return map_coordinates(height, width, device=self.device).permute(1, 2, 0)

    def _embed(self, phi: Tensor, points: Tensor) -> Tensor:
        """Ψ at points (H, W, 2) of the input: (D, H, W)."""
        coordinates = points.permute(2, 0, 1) / self.stride
        return mix(sample_map(phi, points, self.stride), coordinates, self.mixing)

    def _training_losses(self, batched_inputs: list[dict]) -> dict[str, Tensor]:
        _, phi, logits = self._maps(batched_inputs)
        losses: dict[str, list[Tensor]] = {name: [] for name in self.losses.used}
        for i, x in enumerate(batched_inputs):
            masks = true_masks(x, self.device)
            if logits is not None:
                points = self._pixel_centres(*masks.shape[1:])
                at_pixels = sample_map(logits[i], points, self.stride)
                loss = foreground_loss(at_pixels, masks, x["instances"].gt_classes)
                losses["loss_foreground"].append(loss)
            for name, loss in self._embedding_losses(phi[i], masks).items():
                losses[name].append(loss)
        self._log(batched_inputs, phi)
        return self.losses.weighted_means(losses)

    def _embedding_losses(self, phi: Tensor, masks: Tensor) -> dict[str, Tensor]:
        """The losses of one image that train the embedding, not yet weighted.

        Args:
            phi: Φ, (D, H_l, W_l).
            masks: ground truth, (N, H, W) boolean.
        """
        own = masks & (count_masks(masks) == 1)  # without pixels that instances share
        rows, columns = own.any(dim=0).nonzero().unbind(dim=1)
        if not len(rows):
            zero = (phi.sum() + self.kernel.sigma) * 0
            return dict.fromkeys(self.losses.used_for_embedding, zero)
        points = torch.stack([columns, rows], dim=1) + 0.5
        psi = self._embed(phi, points[:, None])[..., 0].T
        return self.losses.of_embedding(psi, own[:, rows, columns], self.kernel)

    def _log(self, batched_inputs: list[dict], phi: Tensor) -> None:
        storage = get_event_storage()
        if "loss_kernel" in self.losses.used:
            self.kernel.log(storage)
        if self.vis_period > 0 and storage.iter % self.vis_period == 0:
            image = batched_inputs[0]
            height, width = image["image"].shape[1:]
            points = self._pixel_centres(height, width)
            masks = true_masks(image, self.device)
            picture = draw_coloring(image["image"], self._embed(phi[0].detach(), points), masks)
            storage.put_image("semiconv: image; embedding; ground truth", picture)
