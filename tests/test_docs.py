"""The site builds and needs no other host, and every link in a page leads somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Final

import pytest

from docs.from_repository import drawing_of
from docs.names import with_names
from tests.pages import blocks

ROOT = Path(__file__).parent.parent
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")
PUBLIC_MODULES: Final = (
    "monostream_ai",
    "monostream_ai.ag_ui",
    "monostream_ai.anthropic",
    "monostream_ai.chats",
    "monostream_ai.fastapi",
    "monostream_ai.google_genai",
    "monostream_ai.langchain",
    "monostream_ai.openai",
    "monostream_ai.openai_agents",
    "monostream_ai.pydantic_ai",
    "monostream_ai.recording",
    "monostream_ai.testing",
    "monostream_ai.ui_messages",
)
PASSING_ON: Final = ("monostream_ai", "monostream_ai.fastapi")
"""Modules whose names other pages describe."""
UNDESCRIBED: Final = {"__version__"}
RESOURCE: Final = {
    "html": re.compile(
        r"<(?:script|img|iframe|source|video|audio|embed)\b[^>]*\bsrc=[^ >]+"
        r"|<link\b[^>]*\brel=\"?(?:stylesheet|icon|preload|preconnect|dns-prefetch|manifest)[^>]*>"
        r"|\bstyle=\"[^\"]*url\([^)]*\)|<object\b[^>]*>|<use\b[^>]*>"
    ),
    "css": re.compile(r"@import[^;]*;|url\((?![\"']?data:)[^)]*\)"),
}
"""Whatever a browser fetches by itself, other than a link that somebody follows."""
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def pages() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [path for path in listed.stdout.splitlines() if (ROOT / path).exists()]


def anchors(page: Path) -> set[str]:
    return {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        for heading in HEADING.findall(page.read_text())
    }


@pytest.mark.parametrize("page", pages())
def test_no_link_leads_nowhere(page: str) -> None:
    for link in LINK.findall(FENCE.sub("", (ROOT / page).read_text())):
        if link.startswith(("https://", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), f"{page}: {link}"
        assert not anchor or anchor in anchors(target), f"{page}: {link}"


def test_the_site_has_every_page(site: Path) -> None:
    assert "G10" in (site / "guarantees" / "index.html").read_text()
    built = {path.parent.name for path in (site / "reference").glob("*/index.html")}
    assert built == {path.stem for path in (ROOT / "docs" / "reference").glob("[!i]*.md")}


@pytest.mark.parametrize("module", PUBLIC_MODULES)
def test_the_reference_describes_every_public_name(site: Path, module: str) -> None:
    text = "".join(page.read_text() for page in (site / "reference").glob("**/index.html"))
    public = import_module(module).__all__
    place = r"monostream_ai\.(\w+\.)*" if module in PASSING_ON else rf"{re.escape(module)}\."
    described = {name for name in public if re.search(rf'id="{place}{name}"', text)}

    assert set(public) - described - UNDESCRIBED == set()


@pytest.mark.parametrize(
    "page", sorted((ROOT / "docs" / "reference").glob("[!i]*.md")), ids=lambda page: page.stem
)
def test_a_page_of_the_reference_lists_its_names(page: Path) -> None:
    text = page.read_text()

    assert text == with_names(text), "run: python -m docs.names"


def test_python_prints_the_entries_of_the_reference() -> None:
    index = (ROOT / "docs" / "reference" / "index.md").read_text()
    names = re.findall(r"`python -m pydoc (\S+)`", index)
    assert len(names) == 2
    for name in names:
        printed = subprocess.run(
            [sys.executable, "-m", "pydoc", name], capture_output=True, text=True, check=True
        ).stdout
        assert "on_lost" in printed


@pytest.mark.parametrize("ending", ["html", "css"])
def test_no_page_asks_another_host_for_anything(site: Path, ending: str) -> None:
    found = [
        (file.relative_to(site), match[0])
        for file in site.rglob(f"*.{ending}")
        for match in RESOURCE[ending].finditer(file.read_text())
        if re.search(r"[\"'(=](?:\w+:)?//", match[0])
    ]

    assert found == []


def test_every_drawing_belongs_to_a_block_of_a_page() -> None:
    sources = [block.text for block in blocks("mermaid")]

    assert sources
    assert {drawing_of(source) for source in sources} == set(
        (ROOT / "docs" / "diagrams").glob("*.svg")
    )


def test_a_drawing_has_the_colours_of_the_site() -> None:
    for drawing in (ROOT / "docs" / "diagrams").glob("*.svg"):
        text = drawing.read_text()
        assert "<title" in text, f"{drawing.name}: the block needs a line `accTitle: …`"
        assert "var(--drawing-" in text and "<script" not in text
