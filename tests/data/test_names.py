"""Names of files that may be anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from semiconv_d2.data.names import (
    FolderIndex,
    base_name,
    is_hidden,
    leads_out,
    meant_names,
    path_inside,
    stem_of,
    visible_files,
)
from semiconv_d2.errors import DatasetError


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("data/local-files/?d=proj/my%20a.png", "my a.png"),
        ("/data/local-files/?d=a/b/c.png&x=1", "c.png"),
        ("http://localhost:8080/data/upload/4/%C3%A9cran.png", "écran.png"),
        ("https://bucket.example/x/e.png?X-Amz-Signature=abc#top", "e.png"),
        ("s3://bucket/a/b%20c.png", "b c.png"),
        ("C:\\Users\\me\\images\\a.png", "a.png"),
        ("..\\..\\media\\upload\\4\\b.png", "b.png"),
        ("upload/4/3f2a1b9c-cells.png", "cells.png"),
        ("a.PNG", "a.png"),
        ("e\u0301.png", "é.png"),
        ("./a.png", "a.png"),
    ],
)
def test_what_an_address_or_path_means(name, file):
    assert file in meant_names(name, alone=True)


def test_names_that_are_meant_as_they_are():
    assert base_name("12:30 100% a#1.png") == "12:30 100% a#1.png"
    assert "b.png" not in meant_names("a/b.png", alone=False)
    assert list(meant_names("", alone=True)) == []
    list(meant_names("http://[bad", alone=True))


def test_a_file_anywhere_below_the_folder_is_found_where_it_is_the_only_one(tmp_path):
    for name in ("a/X.png", "b/y.png", "c/y.png", ".ipynb_checkpoints/z.png", "__MACOSX/w.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    index = FolderIndex(tmp_path)
    assert index.only("x.png") == Path("a/X.png")
    assert [index.only(name) for name in ("y.png", "z.png", "w.png", "v.png")] == [None] * 4
    assert index.only("x.jpg") is None
    assert index.only_stem("x") == Path("a/X.png")
    assert [index.only_stem(stem) for stem in ("y", "z", "v")] == [None] * 3
    assert [p.name for p in visible_files(tmp_path)] == ["X.png", "y.png", "y.png"]


def test_an_extension_begins_with_a_letter():
    names = ("a.png", "a.b.tif", "well 1.2", "a", ".png")
    assert [stem_of(name) for name in names] == ["a", "a.b", "well 1.2", "a", ".png"]


def test_copies_of_systems_and_programs_are_hidden(tmp_path):
    for name in ("._a.png", ".DS_Store", "__MACOSX", "Thumbs.db", "@eaDir", "desktop.ini"):
        assert is_hidden(Path(name)), name
    assert is_hidden(tmp_path / ".ipynb_checkpoints" / "a-checkpoint.png", below=tmp_path)
    assert not is_hidden(Path(".cache/a.png"))
    assert not is_hidden(tmp_path / "a" / "a.png", below=tmp_path)


def test_nothing_is_written_outside(tmp_path):
    assert path_inside(tmp_path, "a/b.png") == tmp_path / "a" / "b.png"
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "link").symlink_to(tmp_path)
    for name in ("../b.png", "/b.png", "a/../../b.png", "C:\\b.png", "..\\b.png", "link/b.png"):
        with pytest.raises(DatasetError, match="leads out of"):
            path_inside(tmp_path / "out", name)
    assert leads_out("a/../b.png")
    assert not leads_out("a..b.png")
