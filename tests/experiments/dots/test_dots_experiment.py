"""The experiment with dots: its grids, its models, what it writes, and that its config trains."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.modeling import build_model
from PIL import Image
from sklearn.cluster import KMeans
from torch import nn

import semiconv_d2
from experiments.dots.experiment import OPERATORS, SIZES, VARIANTS, measure_border
from experiments.dots.grids import LENGTHS, REACH, RINGS, draw_input, grid_settings
from experiments.dots.picture import Panel
from experiments.dots.showing import decode_panel, encode_panel, format_results
from semiconv_d2.data.datasets.dots import DotSettings, prepare_dots
from semiconv_d2.training import load_config

ROOT = Path(__file__).resolve().parents[3]
SHAPES_AND_PADDING = [("dots", True), ("dots", False), ("bars", False)]


@pytest.fixture
def untrained():
    """Of the purely convolutional model, with a Φ that is far from constant."""
    config = semiconv_d2.get_config_file("dots_coloring")
    model = build_model(load_config(config, ["MODEL.SEMICONV.MIXING", "none"]))
    nn.init.normal_(model.embedding_head.embedding.weight)
    return model.eval()


def test_the_model_is_that_of_the_paper(untrained):
    assert [name for name, _ in untrained.backbone.named_children()] == ["stem", "res2"]
    assert len(untrained.backbone.res2) == 3
    [layer] = [m for m in untrained.embedding_head.modules() if isinstance(m, nn.Conv2d)]
    assert (layer.out_channels, layer.kernel_size) == (8, (1, 1))
    assert untrained.losses.used == ["loss_embedding"]
    assert all(p.requires_grad for p in untrained.backbone.parameters())


def test_what_is_trained_on_ends_where_it_does_at_test():
    # A smaller image in a batch with a larger one is padded, and then goes on beyond its border.
    cfg = load_config(semiconv_d2.get_config_file("dots_coloring"))
    assert cfg.SOLVER.IMS_PER_BATCH == 1


def test_phi_looks_as_far_as_it_is_said_to(untrained):
    side = 64
    for p in untrained.backbone.parameters():
        p.data.abs_()  # so that nothing cancels out
    images = torch.rand(6, 3, side, side, requires_grad=True)
    phi = untrained.backbone(images)["res2"].sum(dim=(0, 1))
    seen = []
    for pixel in range(28, 32):  # every place within a cell
        first = (pixel + 0.5 - 2) // 4  # of the two cells that it lies between
        [gradient] = torch.autograd.grad(
            sum(phi[int(first) + i, 8] for i in (0, 1)), images, retain_graph=True
        )
        rows = gradient.abs().amax(dim=(0, 1, 3)).nonzero()[:, 0]
        seen += [pixel - rows[0].item(), rows[-1].item() - pixel]
    assert max(seen) == REACH


@pytest.mark.parametrize(("shape", "padding"), SHAPES_AND_PADDING)
def test_grids_go_on_up_to_the_border(shape, padding):
    settings = grid_settings(shape, 3, 4, padding)
    image = draw_input(settings)["image"]
    down, along = settings.pitch
    assert torch.equal(image[:, down:], image[:, :-down])
    assert torch.equal(image[..., along:], image[..., :-along])
    around = 0 if padding else 2 * RINGS
    assert image.shape == (3, (3 + around) * down, (4 + around) * along)
    assert down % 4 == along % 4 == 0  # the stride


@pytest.mark.parametrize(("shape", "padding"), SHAPES_AND_PADDING)
def test_phi_is_the_same_at_all_copies_unless_they_see_the_border(untrained, shape, padding):
    image = draw_input(grid_settings(shape, 4, 5, padding))
    [coloring] = untrained.color([image])
    phi = torch.stack([coloring.embedding[:, m] for m in image["instances"].gt_masks.tensor])
    difference = (phi - phi[:1]).abs().max() / phi[0].std(dim=1).mean()
    assert difference > 0.1 if padding else difference < 1e-4


def test_the_border_is_seen_as_far_as_phi_looks(untrained):
    image = draw_input(grid_settings("dots", 9, 10, padding=True))
    border = measure_border(untrained, image)
    assert list(border) == [3, 15, 27, 39, 51]
    seen = {pixels for pixels, distance in border.items() if distance > 1e-4 * border[3]}
    assert seen == {pixels for pixels in border if pixels <= REACH}


def test_k_means_prefers_pieces_of_bars_to_bars():
    image = draw_input(grid_settings("bars", 4, 4, padding=False))
    positions = [np.argwhere(mask) for mask in image["instances"].gt_masks.tensor.numpy()]
    bars = np.mean([((p - p.mean(axis=0)) ** 2).sum(axis=1).mean() for p in positions])
    pixels = np.concatenate(positions)
    pieces = KMeans(16, n_init=10, random_state=0).fit(pixels).inertia_ / len(pixels)
    assert round(bars) == 75  # as docs/explanation/dots.md says
    assert pieces == pytest.approx(60, abs=5)


def test_trains_tests_and_writes(run_tool, tmp_path):
    status, out, err = run_tool(
        "tools/dots.py", "--output", tmp_path, "--sizes", "3x2", "2x2", "--seeds", 4,
        "--processes", 1, "--opts", "SOLVER.MAX_ITER", 2,
    )  # fmt: skip
    assert status == 0, err
    content = json.loads((tmp_path / "dots.json").read_text())
    assert content["sizes"] == [[3, 2], [2, 2]]
    rows = {(r["object"], r["operator"], r["padding"]): r for r in content["rows"]}
    assert set(VARIANTS) < set(rows)
    assert len(rows) == len(VARIANTS) + len(LENGTHS)  # and random labels
    assert rows["dots", "coordinates alone", None]["accuracy"] == [[1.0], [1.0]]
    assert rows["dots", "coordinates alone", None]["ari"] == [[1.0], [1.0]]
    assert all(0 < v[0] <= 1 for r in rows.values() for v in r["accuracy"])
    losses = {o: set(rows["dots", o, True]["losses"][0]) for o in OPERATORS if "conv" in o}
    assert losses == {
        "convolutional": {"total_loss"},
        "convolutional + margin": {"total_loss", "loss_embedding", "loss_margin"},
        "semi-convolutional": {"total_loss"},
    }
    assert rows["dots", "convolutional", True]["border"]["pixels"] == [3]
    table = (tmp_path / "table.txt").read_text()
    assert table == format_results(content) + "\n"
    assert table in out
    assert "from random weights" in out
    assert f"{len(VARIANTS)}/{len(VARIANTS)}" in err  # progress
    picture = np.asarray(Image.open(tmp_path / "dots.png"))
    assert picture.std() > 10


def test_what_it_cannot_run_is_refused(run_tool, tmp_path):
    status, _, err = run_tool("tools/dots.py", "--output", tmp_path / "a", "--weights", "no.pth")
    assert status == 1
    assert "error: MODEL.WEIGHTS is no.pth, and there is no file" in err
    status, _, err = run_tool("tools/dots.py", "--output", tmp_path / "a", "--sizes", "0x4")
    assert status == 2
    assert "invalid grid value: '0x4'" in err
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("decoder", ["greedy", "mean_shift"])
def test_the_config_trains_on_prepared_dots(run_tool, datasets_folder, tmp_path, decoder):
    settings = DotSettings(rows=(2, 3), columns=(2, 3))
    prepare_dots(datasets_folder / "dots", settings, train_images=3, val_images=2)
    status, out, err = run_tool(
        "tools/train_net.py", "--config-file", "configs/dots_coloring.yaml",
        "SOLVER.MAX_ITER", 2, "OUTPUT_DIR", tmp_path, "MODEL.COLORING.DECODER", decoder,
    )  # fmt: skip
    assert status == 0, out + err
    assert "mask AP" in out
    results = json.loads((tmp_path / "inference" / "coco_instances_results.json").read_text())
    assert len(results) >= 8  # compact dots are apart by their coordinates


def test_the_page_says_what_the_results_say():
    content = json.loads((ROOT / "experiments" / "results" / "dots.json").read_text())
    page = (ROOT / "docs" / "explanation" / "dots.md").read_text(encoding="utf-8")
    assert format_results(content) in page
    assert content["sizes"] == [list(size) for size in SIZES]
    assert len(content["seeds"]) == 3
    assert (ROOT / "docs" / "images" / "dots.png").stat().st_size < 300_000


def test_what_the_page_concludes_holds():
    content = json.loads((ROOT / "experiments" / "results" / "dots.json").read_text())
    rows = {(r["object"], r["operator"], r["padding"]): r for r in content["rows"]}
    semi = [r for (_, o, _), r in rows.items() if o == "semi-convolutional"]
    assert len(semi) == len(SHAPES_AND_PADDING)
    assert min(np.min(r["accuracy"]) for r in semi) >= 0.99
    assert max(np.mean(rows["bars", "coordinates alone", None]["accuracy"], axis=1)) < 0.7
    for operator in ("convolutional", "convolutional + margin"):
        few, *_, many = np.mean(rows["dots", operator, True]["accuracy"], axis=1)
        assert few > 0.9
        assert many < 0.02
    for shape in LENGTHS:
        chance = np.mean(rows[shape, "random labels", None]["accuracy"], axis=1)
        for operator in OPERATORS:
            if operator.startswith("convolutional"):
                assert (np.mean(rows[shape, operator, False]["accuracy"], axis=1) < chance).all()


def test_panels_survive_json():
    labels = {"truth": np.array([[-1, 0], [399, 5]]), "found": np.array([[2, -1], [0, 1]])}
    panel = Panel("dots", np.array([[0, 255], [7, 128]], dtype=np.uint8), labels)
    again = decode_panel(json.loads(json.dumps(encode_panel(panel))))
    assert again.title == panel.title
    assert again.image.dtype == np.uint8
    np.testing.assert_array_equal(again.image, panel.image)
    assert list(again.labels) == list(labels)
    for name, values in labels.items():
        np.testing.assert_array_equal(again.labels[name], values)
