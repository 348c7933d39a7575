from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from semiconv_d2.data.files import (
    check_file,
    check_folder,
    one_line,
    printable,
    read_json,
    refuse_all,
    try_each,
)
from semiconv_d2.errors import ConfigError, DatasetError


@pytest.fixture
def file(tmp_path) -> Path:
    (tmp_path / "file").touch()
    return tmp_path / "file"


def test_nothing_is_made_by_asking(tmp_path, monkeypatch):
    check_folder(tmp_path / "a" / "b", "--output")
    check_file(tmp_path / "a" / "b.json", "--json")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.chdir(tmp_path)
    check_folder(Path("a"), "--output")
    check_file(Path("b.json"), "--json")


def test_files_are_no_folders_and_folders_no_files(tmp_path, file):
    for folder in (file, file / "a"):
        with pytest.raises(ConfigError, match=r"^--output .*file is a file; name a folder"):
            check_folder(folder, "--output")
    check_file(file, "--json")
    with pytest.raises(ConfigError, match=r"^--json .*that is a folder"):
        check_file(tmp_path, "--json")
    with pytest.raises(ConfigError, match=r"^--json .*file is a file"):
        check_file(file / "a.json", "--json")


def test_write_protection_is_found(tmp_path, file, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    with pytest.raises(ConfigError, match="cannot write into"):
        check_folder(tmp_path / "a", "--output")
    monkeypatch.setattr(os, "access", lambda path, mode: path != file)
    with pytest.raises(ConfigError, match="write-protected"):
        check_file(file, "--json")


def test_several_problems_make_one_error():
    def fail(number: int) -> int:
        if number % 2:
            raise DatasetError(f"wrong: {number}")
        return number

    results, problems = try_each(fail, range(100))
    assert results == [(number, number) for number in range(0, 100, 2)]
    refuse_all([])
    for number, message in (
        (1, "^wrong: 1$"),
        (2, "^2 problems: wrong: 1; wrong: 3$"),
        (50, "^50 problems: wrong: 1; .*; wrong: 19; and 40 more$"),
    ):
        with pytest.raises(DatasetError, match=message):
            refuse_all(problems[:number])


def test_what_would_steer_a_terminal_is_written_out():
    text = "a\x1b[2J\x07\u202eb\x9b\udc80\tc\nd é × 漢"
    assert printable(text) == "a\\x1b[2J\\x07\\u202eb\\x9b\\udc80\tc\nd é × 漢"
    assert one_line("a\r\n b\x00") == "a b\\x00"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(b"{}"), "it is compressed by gzip: unpack it$"),
        (b"PK\x03\x04\x14\x00\xff\xff", "it is a ZIP archive: unpack it$"),
        ("{}".encode("utf-16"), "it is in UTF-16: save it as UTF-8$"),
        (b'{"name": "\xe9"}', r"it is not text in UTF-8 \(invalid continuation byte at byte 10\)$"),
    ],
)
def test_other_codings_are_named(tmp_path, content, message):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        read_json(path)
