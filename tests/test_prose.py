"""The documents are written in short sentences and plain words, as far as a program can tell."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
LONGEST = 30  # words of a sentence
NOT_MEANT = {
    "utilize": "use",
    "leverage": "use",
    "in order to": "to",
    "respectively": "say which is which",
    "e.g.": "for example",
    "i.e.": "that is",
    "aforementioned": "name it",
    "obviously": "leave it out",
    "simply": "leave it out",
    "easily": "leave it out",
    "as well as that can be told": "say how sure it is",
}
"""Words, and what to write instead."""


def sentences(markdown: str) -> Iterator[str]:
    """The prose of a page: no code, no tables, no headings; a name in code or a link is a word."""
    text = re.sub(r"^```.*?^```$", "", markdown, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"^ +```.*?^ +```$", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"`[^`]*`", "code", text)
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)", "", text)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    for paragraph in re.split(r"\n\s*\n|\n(?=\s*(?:[-*] |\d+\. |\|))", text):
        plain = " ".join(paragraph.split())
        if plain and not plain.startswith(("|", "#", ":::")):
            yield from re.split(r"(?<=[.!?])\*{0,2} +(?=[\"(*A-ZÀ-ÖΑ-Ωα-ω0-9]|code)", plain)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_sentences_are_short_and_words_plain(page):
    text = page.read_text(encoding="utf-8")
    long = [s for s in sentences(text) if len(s.split()) > LONGEST]
    assert long == []
    found = {w: n for w, n in NOT_MEANT.items() if re.search(rf"\b{re.escape(w)}", text)}
    assert found == {}


def test_a_sentence_is_told_apart_from_what_is_none():
    page = (
        "# Head\n\nOne `a b c` two [three four](x). Next one.\n\n"
        "| a | b |\n\n```\ncode\n```\n- A b.\n- C d.\n"
    )
    assert list(sentences(page)) == ["One code two three four.", "Next one.", "- A b.", "- C d."]
