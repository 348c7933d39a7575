"""Pictures of an `InstanceColoring` model: its best and worst images, and the points where the
embeddings of an instance meet."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog
from detectron2.data.detection_utils import read_image
from detectron2.modeling import build_model
from tqdm import tqdm

from experiments.dataset_dicts import record_masks
from experiments.documents.coloring_pictures import (
    ColoringView,
    Meeting,
    draw_centres,
    draw_colorings,
)
from semiconv_d2.data.geometry import bounding_window
from semiconv_d2.errors import ConfigError
from semiconv_d2.modeling import InstanceColoring
from semiconv_d2.ops import segment_means
from semiconv_d2.training.checks import EVALUATION, check_tests, check_weights
from semiconv_d2.training.loading import build_checked, load_trained
from semiconv_d2.training.trainer import Trainer
from semiconv_d2.visualization.embedding import principal_colours
from semiconv_d2.writing import write_json


def view_colorings(cfg: CfgNode, output: Path, count: int = 2) -> list[Meeting]:
    """Draws the best and worst test images, and the learned centres.

    Writes `best.png`, `worst.png`, `centres.png`, and `centres.json` with the numbers of the last.

    Args:
        cfg: config of an `InstanceColoring` model, which is run on the first test dataset.
        output: folder to write to.
        count: images in each of the first two pictures.

    Raises:
        ConfigError: the config is that of another model or has no mixing, or the dataset has no
            instance; also see `check_weights`, `check_tests` and `load_trained`.
    """
    if cfg.MODEL.META_ARCHITECTURE != "InstanceColoring":
        raise ConfigError(
            f"MODEL.META_ARCHITECTURE is {cfg.MODEL.META_ARCHITECTURE}; only InstanceColoring "
            "colours whole images."
        )
    if cfg.MODEL.SEMICONV.MIXING != "additive":
        raise ConfigError(
            f"MODEL.SEMICONV.MIXING is {cfg.MODEL.SEMICONV.MIXING!r}: without 'additive' mixing "
            "embeddings do not point to a place in the image."
        )
    check_weights(cfg, EVALUATION)
    check_tests(cfg, EVALUATION)
    model = build_checked(lambda: build_model(cfg), "MODEL").eval()
    load_trained(model, cfg.MODEL.WEIGHTS)

    meetings: list[Meeting] = []
    ranked: list[tuple[float, int, ColoringView]] = []
    for number, view in enumerate(_views(cfg, model)):
        meetings += _meetings(view)
        ranked.append((view.quality, number, view))
        ranked.sort(key=lambda r: r[:2])
        # Images in the middle are not drawn, so they are not kept.
        ranked = [*ranked[:count], *ranked[count:][-count:]]
    if not meetings:
        raise ConfigError(f"{cfg.DATASETS.TEST[0]} has no instance with unshared pixels.")
    output.mkdir(parents=True, exist_ok=True)
    views = [view for _, _, view in ranked]
    draw_colorings(output / "worst.png", views[:count])
    draw_colorings(output / "best.png", views[::-1][:count])
    draw_centres(output / "centres.png", meetings)
    write_json({"centres": [m.to_json() for m in meetings]}, output / "centres.json")
    return meetings


def describe_meetings(meetings: Sequence[Meeting]) -> str:
    """A text of a few lines: how far from the centroid embeddings meet, and how closely."""
    offset = np.median([np.linalg.norm(m.point - m.centroid) for m in meetings])
    spread = np.median([m.spread for m in meetings])
    points = np.mean([m.covers(m.point) for m in meetings])
    centroids = np.mean([m.covers(m.centroid) for m in meetings])
    return (
        f"{len(meetings)} instances. Embeddings meet {offset:.1f} pixels from the centroid of\n"
        f"their instance, with a spread of {spread:.1f} pixels (medians). {points:.0%} of these\n"
        f"points lie on the instance itself; of the centroids, {centroids:.0%} do."
    )


@torch.no_grad()
def _views(cfg: CfgNode, model: InstanceColoring) -> Iterator[ColoringView]:
    name = cfg.DATASETS.TEST[0]
    records = {r["image_id"]: r for r in DatasetCatalog.get(name)}
    loader = Trainer.build_test_loader(cfg, name)
    for [image] in tqdm(loader, desc="images", unit="image", file=sys.stderr):
        [coloring] = model.color([image])
        found = model.decode(image, coloring)
        confident = found.scores >= cfg.EVALUATION.SCORE_THRESHOLD
        masks = torch.from_numpy(record_masks(records[image["image_id"]]))
        own = masks & (masks.sum(dim=0) == 1)
        instances, rows, columns = own.nonzero().unbind(dim=1)
        psi = coloring.embedding.cpu()
        height, width = image["image"].shape[1:]
        scale = torch.tensor([image["width"] / width, image["height"] / height])  # to the output
        votes = psi[:2, rows, columns].T * model.stride * scale
        yield ColoringView(
            Path(image["file_name"]).stem,
            read_image(image["file_name"], "RGB"),
            masks.numpy(),
            found[confident].pred_masks.cpu().numpy(),
            _colours(psi, model.find_foreground(coloring).cpu()).numpy(),
            votes.numpy(),
            instances.numpy(),
        )


def _colours(embedding: torch.Tensor, foreground: torch.Tensor) -> torch.Tensor:
    """Ψ (D, H, W) of the foreground (H, W) as colours, white elsewhere: (H, W, 3)."""
    colours = torch.ones(*foreground.shape, 3)
    if foreground.any():
        colours[foreground] = principal_colours(embedding[:, None, foreground])[0]
    return colours


def _meetings(view: ColoringView) -> list[Meeting]:
    """The meeting point of each instance that has unshared pixels."""
    votes, instances = torch.from_numpy(view.votes), torch.from_numpy(view.voters)
    means = segment_means(votes, instances, len(view.truth))
    distance = (votes - means[instances]).norm(dim=1)
    spreads = segment_means(distance[:, None], instances, len(view.truth))[:, 0]
    meetings = []
    for index in instances.unique().tolist():
        window = bounding_window(view.truth[index])
        corner = np.array([window[1].start, window[0].start])
        mask = view.truth[index][window].copy()  # a view would keep the masks of all images
        point = means[index].numpy()
        meetings.append(Meeting(view.name, index, mask, corner, point, spreads[index].item()))
    return meetings
