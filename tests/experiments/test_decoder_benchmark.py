from __future__ import annotations

import json

import pytest
import torch

from experiments.benchmarks import decoders as decoder_benchmark
from experiments.benchmarks.decoders import (
    PEER,
    Case,
    benchmark_decoders,
    draw_pixels,
    format_decoders,
    measure_decoder,
)
from semiconv_d2.modeling.coloring import Segment

TOOL = "tools/benchmark.py"
NAMES = ("greedy", "mean_shift", "kmeans", PEER)
SMALL, LARGER = Case(3000, 7), Case(5000, 12)


@pytest.fixture
def in_this_process(monkeypatch):
    """Runs decoders without the seconds that starting a process takes; returns what ran."""
    ran = []

    def run(name, case, limit):
        ran.append((name, case))
        return None if name == PEER and case == LARGER else measure_decoder(name, case)

    monkeypatch.setattr(decoder_benchmark, "_run_in_process", run)
    return ran


@pytest.mark.parametrize("name", NAMES)
def test_every_decoder_finds_what_is_drawn(name):
    measured = measure_decoder(name, SMALL)
    assert measured["exact"] == 7
    assert measured["seconds"] > 0
    assert measured["mebibytes"] is None or measured["mebibytes"] >= 0


def test_decoders_take_turns_and_what_reached_the_limit_is_not_repeated(in_this_process):
    content = benchmark_decoders([SMALL, LARGER], repeats=2)
    turn = [(name, case) for case in (SMALL, LARGER) for name in NAMES]
    assert in_this_process == turn + turn[:-1]
    assert [(c["pixels"], c["instances"]) for c in content["cases"]] == [SMALL, LARGER]
    assert content["cases"][1]["decoders"][PEER] is None
    assert content["cases"][0]["decoders"].keys() == set(NAMES)

    table = format_decoders(json.loads(json.dumps(content)))
    assert "medians of 2" in table
    seconds, _, exact = table.split("\n\n")[1::2]
    for name in NAMES:
        assert name in seconds
    assert exact.splitlines()[2].split() == ["3,000", *"77777"]
    assert exact.splitlines()[3].split() == ["5,000", "12", "12", "12", "12", "–"]


def test_drawn_instances_have_about_the_same_size():
    pixels, owner = draw_pixels(Case(10_000, 16))
    assert pixels.embedding.shape == (10_000, 8)
    assert torch.bincount(owner).tolist() == [625] * 16
    assert len(torch.bincount(draw_pixels(Case(1234, 5))[1])) == 5


def test_only_whole_instances_count_as_exact():
    owner = torch.tensor([0, 0, 1, 1, 1])
    found = [Segment(torch.tensor(p), 1.0) for p in ([0, 1], [2, 3], [1, 2], [2, 3, 4])]
    assert decoder_benchmark._count_exact(found, owner) == 2


def test_a_process_that_fails_and_one_that_takes_too_long():
    with pytest.raises(ChildProcessError, match=r"^magic on .*decoder is 'magic'"):
        decoder_benchmark._run_in_process("magic", SMALL, 100)
    assert decoder_benchmark._run_in_process("greedy", SMALL, 0.01) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--pixels", 10, "--instances", 4, 20), "more --instances than --pixels"),
        (("--pixels", 0), "argument --pixels"),
        (("--repeats", 0), "argument --repeats"),
    ],
)
def test_what_cannot_be_done_is_said(run_tool, tmp_path, arguments, message):
    status, out, err = run_tool(TOOL, "decoders", *arguments, "--output", tmp_path / "out.json")
    assert status != 0
    assert message in err
    assert "Traceback" not in err
    assert out == ""
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_tool_prints_tables_and_writes_json(run_tool, tmp_path):
    output = tmp_path / "results" / "decoders.json"
    status, out, err = run_tool(
        TOOL, "decoders", "--pixels", 2000, "--instances", 3, "--repeats", 1, "--output", output
    )
    assert status == 0, err
    content = json.loads(output.read_text())
    assert out.strip() == format_decoders(content)
    [case] = content["cases"]
    assert {d["exact"] for d in case["decoders"].values()} == {3}
