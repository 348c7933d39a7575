"""Places that cannot be written to are found before the work."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from semiconv_d2.data.files import check_file, check_folder
from semiconv_d2.errors import ConfigError


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
    with pytest.raises(ConfigError, match="nothing can be written into"):
        check_folder(tmp_path / "a", "--output")
    monkeypatch.setattr(os, "access", lambda path, mode: path != file)
    with pytest.raises(ConfigError, match="write-protected"):
        check_file(file, "--json")
