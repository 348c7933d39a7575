"""What surrounds the code: one version everywhere, files that parse, and paths that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

import semiconv_d2

ROOT = Path(__file__).resolve().parents[1]
GITHUB = ROOT / ".github"
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def read_yaml(path: Path) -> dict:
    return yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)  # `on` stays text


def test_the_version_is_one():
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = {
        "pyproject.toml": re.search(r'^version = "(.+)"$', pyproject, re.MULTILINE)[1],
        "CHANGELOG.md": re.search(r"^## \[(.+?)\]", changelog, re.MULTILINE)[1],
        "CITATION.cff": read_yaml(ROOT / "CITATION.cff")["version"],
    }
    assert versions == dict.fromkeys(versions, semiconv_d2.__version__)


def test_the_citation_names_software_and_paper():
    citation = read_yaml(ROOT / "CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "license"} <= set(citation)
    paper = citation["preferred-citation"]
    names = [author["family-names"] for author in paper["authors"]]
    assert names == ["Novotny", "Albanie", "Larlus", "Vedaldi"]
    assert paper["url"].endswith("1807.10712")


@pytest.mark.parametrize("name", ["tests", "package"])
def test_a_workflow_runs_on_every_supported_python(name):
    workflow = read_yaml(GITHUB / "workflows" / f"{name}.yml")
    assert set(workflow["on"]) == {"push", "pull_request"}
    [job] = workflow["jobs"].values()
    assert job["strategy"]["matrix"]["python"] == ["3.10", "3.11", "3.12", "3.13"]
    assert all("run" in step or "uses" in step for step in job["steps"])


def test_workflows_name_targets_of_the_makefile():
    text = (GITHUB / "workflows" / "tests.yml").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"run: make ([\w-]+)$", text, re.MULTILINE)
    assert targets == ["environment", "test"]
    assert [t for t in targets if f"\n{t}:" not in makefile] == []


@pytest.mark.parametrize("name", ["bug", "data", "feature"])
def test_an_issue_form_asks_for_the_version(name):
    form = read_yaml(GITHUB / "ISSUE_TEMPLATE" / f"{name}.yml")
    assert {"name", "description", "body"} <= set(form)
    ids = [field["id"] for field in form["body"]]
    assert len(set(ids)) == len(ids)
    assert all(field["type"] in ("input", "textarea") for field in form["body"])
    assert all(field["attributes"]["label"] for field in form["body"])
    assert "semiconv --version" in str(form)


def test_paths_in_contributing_are_there():
    prose = re.sub(r"^```.*?^```", "", CONTRIBUTING, flags=re.DOTALL | re.MULTILINE)
    commands = re.findall(r"\b(?:tests|semiconv_d2)/[\w./]+", CONTRIBUTING)
    links = re.findall(r"\]\(([^)#:]+)\)", prose)
    named = [
        name
        for name in re.findall(r"`([^`\s]+)`", prose)
        if "/" in name or name.endswith((".md", ".py", ".cff", ".toml"))
    ]
    paths = {p for p in (*commands, *links, *named) if "NAME" not in p}
    assert len(paths) > 25
    assert sorted(p for p in paths if not (ROOT / p).exists()) == []


def test_names_in_contributing_are_there():
    """Functions, constants and tests that it tells people to copy or change."""
    folders = ("semiconv_d2", "tests", "experiments")
    code = "\n".join(
        path.read_text(encoding="utf-8")
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        if path != Path(__file__).resolve()
    )
    named = set(re.findall(r"`([A-Za-z]\w*|_\w+)(?:\(\))?`", CONTRIBUTING))
    assert len(named) > 25
    known = set(re.findall(r"\w+", code))
    assert sorted(n for n in named - known if "NAME" not in n) == []


def test_type_checkers_find_the_annotations(monkeypatch):
    """`py.typed` is in the list of what the wheel has beside modules."""
    pytest.importorskip("setuptools")
    from distutils.core import run_setup

    monkeypatch.chdir(ROOT)
    distribution = run_setup("setup.py", stop_after="init")
    assert "py.typed" in distribution.package_data["semiconv_d2"]
    assert (ROOT / "semiconv_d2" / "py.typed").is_file()
