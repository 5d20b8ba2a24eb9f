"""The tutorial as its reader follows it: the files after each step, and the commands of each page.

A block with a title is a file, and one in the language `diff` changes a file of an earlier block.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = sorted((ROOT / "docs" / "tutorial").glob("*.md"))
FENCED: Final = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    language: str
    title: str
    text: str


def blocks(page: Path) -> list[Block]:
    return [Block(*match.groups("")) for match in FENCED.finditer(page.read_text())]


def files_after(step: int) -> dict[str, str]:
    """Return the text of each file by its path, after so many steps."""
    files: dict[str, str] = {}
    for page in PAGES[:step]:
        for block in blocks(page):
            if block.language == "diff":
                files[block.title] = changed(files[block.title], block.text)
            elif block.title:
                files[block.title] = block.text
    return files


def changed(text: str, difference: str) -> str:
    """Return the text after a difference, each of whose hunks fits at one place only."""
    text = f"\n{text}"
    for hunk in difference.split("@@\n"):
        lines = hunk.splitlines(keepends=True)
        before = "\n" + "".join(line[1:] for line in lines if not line.startswith("+"))
        after = "\n" + "".join(line[1:] for line in lines if not line.startswith("-"))
        assert text.count(before) == 1, f"fits at {text.count(before)} places:\n{hunk}"
        text = text.replace(before, after)
    return text.removeprefix("\n")


def commands(step: int) -> list[str]:
    """Return the lines of the shell on the page of a step."""
    shell = [block.text for block in blocks(PAGES[step - 1]) if block.language == "bash"]
    return "".join(shell).splitlines()


def command(step: int, beginning: str) -> str:
    """Return the one command of a step that begins so."""
    [found] = [each for each in commands(step) if each.startswith(beginning)]
    return found
