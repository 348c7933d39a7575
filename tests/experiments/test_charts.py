"""Charts of results show the results."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.documents.charts import draw_attaching, draw_costs, draw_difficulty
from semiconv_d2.visualization.masks import PALETTE


def lines_by_label(figure) -> dict:
    return {line.get_label(): line for line in figure.axes[0].lines}


def legend_colours(figure) -> dict:
    [legend] = figure.legends
    handles = legend.legend_handles
    texts = [t.get_text() for t in legend.get_texts()]
    return {t: h.get_color() for t, h in zip(texts, handles, strict=True)}


def look(line) -> tuple:
    return (*line.get_color(), line.get_marker(), line.get_linestyle())


def assert_legend_is_of(figure, names) -> None:
    """It has these names, each with the look of its line in every panel, and no look twice."""
    [legend] = figure.legends
    texts = [t.get_text() for t in legend.get_texts()]
    assert texts == list(names)
    looks = dict(zip(texts, map(look, legend.legend_handles), strict=True))
    assert len(set(looks.values())) == len(looks)
    lines = [line for ax in figure.axes for line in ax.lines if line.get_label() in looks]
    assert {line.get_label() for line in lines} == set(names)
    for line in lines:
        assert look(line) == looks[line.get_label()]


def test_attaching_has_its_points_and_levels():
    figure = draw_attaching({10: 30.0, 1: 2.0, 5: 20.0}, {5: 40.0}, {"stock": 44.25})
    lines = lines_by_label(figure)
    np.testing.assert_allclose(
        lines["just attached, s + log K"].get_xydata(), [(1, 2), (5, 20), (10, 30)]
    )
    np.testing.assert_allclose(lines["s + log K, fine-tuned"].get_xydata(), [(5, 40)])
    assert lines["stock: 44.2"].get_ydata() == pytest.approx([44.25, 44.25])
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["1", "5", "10"]


def test_difficulty_has_a_line_for_each_model():
    by_model = {"stock": [90.0, 50.0], "ours": [92.0, 70.0]}
    figure = draw_difficulty(by_model, ("none", "over 30 %"), "contact")
    lines = lines_by_label(figure)
    for name, values in by_model.items():
        np.testing.assert_allclose(lines[name].get_ydata(), values)
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["none", "over 30 %"]
    assert figure.axes[0].get_xlabel() == "contact"


def test_the_legend_has_the_colours_of_the_lines():
    figure = draw_difficulty({"a": [1.0], "b": [2.0], "c": [3.0]}, ("all",), "x")
    legend, lines = legend_colours(figure), lines_by_label(figure)
    assert list(legend) == ["a", "b", "c"]
    for number, name in enumerate(legend):
        np.testing.assert_allclose(legend[name], PALETTE[number])
        np.testing.assert_allclose(lines[name].get_color(), PALETTE[number])


def test_every_level_of_attaching_has_a_look_of_its_own():
    levels = {f"model {i}": 40.0 + i for i in range(5)}
    figure = draw_attaching({1: 2.0}, {5: 40.0}, levels)
    names = [f"model {i}: {40 + i}.0" for i in range(5)]
    assert_legend_is_of(figure, ["just attached, s + log K", "s + log K, fine-tuned", *names])
    lines = lines_by_label(figure)
    for name, level in zip(names, levels.values(), strict=True):
        assert lines[name].get_ydata() == pytest.approx([level, level])


def test_more_models_than_colours_have_a_look_each():
    by_model = {f"model {i}": [10.0 * i, 5.0 * i] for i in range(9)}
    figure = draw_difficulty(by_model, ("none", "some"), "contact")
    assert_legend_is_of(figure, by_model)
    for name, values in by_model.items():
        np.testing.assert_allclose(lines_by_label(figure)[name].get_ydata(), values)
    with pytest.raises(ValueError, match="43 curves are too many"):
        draw_difficulty({f"model {i}": [1.0] for i in range(43)}, ("all",), "x")


def test_costs_name_every_model_of_every_panel():
    time = {f"model {i}": [1.0 + i, 2.0] for i in range(7)}
    time["model 2"] = [None, None]
    memory = {name: [2.0, 3.0] for name in reversed(time)} | {"only here": [4.0, 4.0]}
    figure = draw_costs({"time": time, "memory": memory}, ("800 px", "400 px"))
    assert_legend_is_of(figure, [*time, "only here"])
    for ax, ratios in zip(figure.axes, (time, memory), strict=True):
        points = {p.get_label(): p for p in ax.lines if p.get_label() in ratios}
        for name, values in ratios.items():
            known = [(v, i) for i, v in enumerate(values) if v is not None]
            np.testing.assert_allclose(points[name].get_xydata(), np.reshape(known, (-1, 2)))


def test_costs_are_where_their_ratios_are():
    time = {"stock": [1.0, 1.0], "ours": [1.02, 1.04], "other": [2.5, 3.0]}
    memory = {"stock": [1.0, None], "ours": [0.9, None], "other": [4.0, None]}
    figure = draw_costs({"time": time, "memory": memory}, ("800 px", "400 px"))
    assert [ax.get_title() for ax in figure.axes] == ["time", "memory"]
    for ax, ratios in zip(figure.axes, (time, memory), strict=True):
        points = {p.get_label(): p for p in ax.lines if p.get_label() in ratios}
        for name, values in ratios.items():
            known = [(v, i) for i, v in enumerate(values) if v is not None]
            np.testing.assert_allclose(points[name].get_xydata(), known)
        low, high = ax.get_xlim()
        assert low < 1 < high
    first, last = (figure.axes[0].transData.transform((1, i))[1] for i in range(2))
    assert first > last, "the first setting is at the top"
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["800 px", "400 px"]
    assert_legend_is_of(figure, ["stock", "ours", "other"])
