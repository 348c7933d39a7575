"""The site is built without a warning, and says what the code says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.documents.site import (
    CONFIG,
    command_reference,
    config_reference,
    fill_reference,
    read_sections,
)
from semiconv_d2.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    return folder


def test_it_needs_nothing_from_elsewhere(site):
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert 'src="http' not in text, page
        assert '<link rel="stylesheet" href="http' not in text, page


def test_the_pages_made_of_the_code_are_there(site):
    config = (site / "reference" / "config.html").read_text(encoding="utf-8")
    assert "EMBEDDING_LOSS_WEIGHT" in config
    assert "&lt;!-- config keys" not in config
    api = (site / "reference" / "api.html").read_text(encoding="utf-8")
    assert "seed_log_kernel" in api


def test_every_key_has_its_default_and_what_it_does():
    from detectron2.config import get_cfg

    from semiconv_d2 import add_semiconv_config

    cfg = get_cfg()
    add_semiconv_config(cfg)
    for node, _, keys in read_sections(CONFIG.read_text(encoding="utf-8")):
        values = cfg
        for name in node.split("."):
            values = values[name]
        known = {key.name: key for key in keys}
        own = set(values) if node != "INPUT" else set(known)
        assert set(known) == own
        for name, key in known.items():
            assert values[name] == eval(key.default)  # a literal of our own file
            assert len(key.about) > 3, name
    told = config_reference()
    [weight] = [line for line in told.splitlines() if "| `EMBEDDING_LOSS_WEIGHT` |" in line]
    assert "| `0.003` | `1.0` |" in weight
    groups = [line for line in told.splitlines() if line.startswith(("The paper:", "What this"))]
    assert len(groups) == 2


@pytest.mark.parametrize("name", ["config", "commands"])
def test_what_is_committed_is_what_the_code_says(name):
    """`python tools/figures.py` writes it."""
    if name == "commands" and sys.version_info[:2] != (3, 11):
        pytest.skip("argparse lays out help in another way")
    page = (ROOT / "docs" / "reference" / f"{name}.md").read_text(encoding="utf-8")
    assert page == fill_reference(page)
    assert len(page.splitlines()) > 80


def test_every_command_tells_its_help():
    told = command_reference()
    for name in COMMANDS:
        assert f"## semiconv {name}" in told
        assert f"usage: semiconv {name}" in told
