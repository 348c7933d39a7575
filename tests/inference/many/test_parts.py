"""What is done stays done, and shards together do everything once."""

from __future__ import annotations

import pytest

from semiconv_d2.errors import ConfigError
from semiconv_d2.inference.many.parts import Outcome, Parts
from semiconv_d2.inference.many.shards import Shard

ALONE = Shard()
NAMES = ["a.png", "b.png", "c.png"]


def parts_of(tmp_path, **settings) -> Parts:
    return Parts.beside(tmp_path / "results.json", {"--score-threshold": 0.5} | settings)


def write(parts: Parts, *outcomes: Outcome, shard: Shard = ALONE) -> None:
    with parts.writer(shard) as writer:
        for outcome in outcomes:
            writer.write(outcome, [outcome.name.upper()])


def outcome(name: str, failed: str = "") -> Outcome:
    return Outcome(name, name[0], instances=2, failed=failed)


def test_results_are_joined_in_the_order_of_the_inputs(tmp_path):
    parts = parts_of(tmp_path)
    write(parts, outcome("c.png"), shard=Shard(1, 2))
    write(parts, outcome("a.png"), shard=Shard(2, 2))
    write(parts, outcome("b\t\n.png"), shard=Shard(2, 2))
    names = ["a.png", "b\t\n.png", "c.png", "d.png"]
    assert list(parts.results(names)) == [["A.PNG"], ["B\t\n.PNG"], ["C.PNG"]]
    assert parts.outcomes()["c.png"] == outcome("c.png")


@pytest.mark.parametrize("cut", [1, 10, 25])
def test_what_a_killed_process_left_of_a_line_goes(tmp_path, cut):
    parts = parts_of(tmp_path)
    write(parts, outcome("a.png"), outcome("b.png"))
    [file] = parts.folder.iterdir()
    file.write_bytes(file.read_bytes()[:-cut])
    assert parts.done() == {"a.png"}
    parts.begin(NAMES, Shard(), resume=True)
    write(parts, outcome("c.png"))
    write(parts, outcome("b.png"))
    assert list(parts.results(NAMES)) == [["A.PNG"], ["B.PNG"], ["C.PNG"]]
    assert len(file.read_bytes().splitlines()) == 4  # the settings are there once


def test_a_killed_process_may_leave_nothing_whole(tmp_path):
    parts = parts_of(tmp_path)
    write(parts)
    [file] = parts.folder.iterdir()
    file.write_bytes(file.read_bytes()[:5])
    parts.begin(NAMES, Shard(), resume=False)  # nothing is done, so nothing is lost
    write(parts, outcome("a.png"))
    assert parts.done() == {"a.png"}


def test_what_failed_is_not_done_and_a_later_success_counts(tmp_path):
    parts = parts_of(tmp_path)
    write(parts, outcome("a.png", failed="broken"))
    assert parts.done() == set()
    assert parts.outcomes()["a.png"].failed == "broken"
    write(parts, outcome("a.png"), outcome("a.png", failed="gone"), shard=Shard(2, 2))
    assert parts.done() == {"a.png"}


def test_a_command_that_has_not_ended_is_not_overwritten(tmp_path):
    parts = parts_of(tmp_path)
    parts.begin(NAMES, Shard(), resume=False)
    write(parts, outcome("a.png"))
    with pytest.raises(ConfigError, match=r"results\.json\.parts has 1 inputs of .* --resume"):
        parts.begin(NAMES, Shard(), resume=False)
    parts.begin(NAMES, Shard(), resume=True)
    write(parts, outcome("b.png", failed="broken"), outcome("c.png"))
    parts.begin(NAMES, Shard(), resume=True)
    assert len(parts.outcomes()) == 3
    parts.begin(NAMES, Shard(), resume=False)  # it has ended: start again
    assert not parts.folder.exists()


def test_a_part_of_the_inputs_does_not_end_a_command(tmp_path):
    parts = parts_of(tmp_path)
    write(parts, outcome("a.png"), outcome("b.png"))
    with pytest.raises(ConfigError, match="has 2 inputs of an earlier command: add --resume"):
        parts.begin(["a.png"], Shard(), resume=False)
    assert parts.done() == {"a.png", "b.png"}


def test_where_every_input_failed_another_command_begins(tmp_path):
    write(parts_of(tmp_path), outcome("a.png", failed="choose a page"))
    mended = parts_of(tmp_path, **{"--plane": [1]})
    mended.begin(["a.png"], Shard(), resume=True)
    write(mended, outcome("a.png"))
    mended.begin(["a.png"], Shard(), resume=True)
    assert mended.done() == {"a.png"}


def test_another_command_cannot_go_on(tmp_path):
    write(parts_of(tmp_path), outcome("a.png"))
    other = parts_of(tmp_path, **{"--score-threshold": 0.3})
    with pytest.raises(ConfigError, match=r"begun with --score-threshold 0\.5, and now it is 0\.3"):
        other.begin(NAMES, Shard(), resume=True)
    other = parts_of(tmp_path, **{"--table": tmp_path / "t.csv"})
    with pytest.raises(ConfigError, match=r"begun with --table not given, and now it is .*t\.csv"):
        other.begin(NAMES, Shard(2, 2), resume=False)


def test_the_parts_of_the_working_folder_lie_beside_it(tmp_path, monkeypatch):
    folder = tmp_path / "labels"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert Parts.beside(type(folder)("."), {}).folder == tmp_path / "labels.parts"


def test_shards_begin_beside_each_other(tmp_path):
    parts = parts_of(tmp_path)
    write(parts, outcome("a.png"), shard=Shard(1, 2))
    parts.begin(NAMES, Shard(2, 2), resume=False)
    with pytest.raises(ConfigError, match="--resume"):
        parts.begin(NAMES, Shard(1, 2), resume=False)
    with pytest.raises(ConfigError, match="--resume"):
        parts.begin(NAMES, Shard(), resume=False)


def test_shards_have_everything_once():
    items = list(range(50))
    shards = [Shard.parse(f"{k}/7") for k in range(1, 8)]
    assert sorted(n for shard in shards for n in shard.of(items)) == items
    pieces = Shard(2, 3).split(4)
    assert sorted(n for piece in pieces for n in piece.of(items)) == Shard(2, 3).of(items)
    assert Shard.of_environment({}) == Shard(1, 1)
    assert Shard.of_environment({"RANK": "2", "WORLD_SIZE": "4"}) == Shard(3, 4)
    for rank, count in (("a", "4"), ("4", "4"), ("-1", "4"), ("0", None), (None, "4")):
        values = {"RANK": rank, "WORLD_SIZE": count}
        with pytest.raises(ConfigError, match=r"RANK and WORLD_SIZE are .* give --shard"):
            Shard.of_environment({k: v for k, v in values.items() if v is not None})


@pytest.mark.parametrize("text", ["3", "0/4", "5/4", "a/b", "-1/2", "1/"])
def test_shards_that_are_none(text):
    with pytest.raises(ConfigError, match=f"--shard {text}: "):
        Shard.parse(text)
