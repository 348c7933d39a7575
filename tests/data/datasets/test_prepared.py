from __future__ import annotations

from pathlib import Path

from semiconv_d2.data.datasets.prepared import clear_prepared, link_images


def test_without_links_names_in_subfolders_are_copied(tmp_path, monkeypatch, caplog):
    def refuse(*_args, **_kwargs):
        raise OSError("no links here")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    source, names = tmp_path / "source", ("a.png", "deep/a.png", "deep/down/b.png")
    for name in (*names, "deep/unused.png"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
    images = clear_prepared(tmp_path / "out", ["train"])
    for part in ("", "part"):
        link_images(tmp_path / "out", source, names, part)
        copies = images / part
        for name in names:
            assert (copies / name).read_text() == name
        assert not copies.is_symlink()
        assert not (copies / "deep" / "unused.png").exists()
    assert "no links here" in caplog.text
