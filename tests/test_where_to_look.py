"""docs/where-to-look.md names files and functions that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parent.parent
PAGE: Final = (ROOT / "docs" / "where-to-look.md").read_text()
ROW: Final = re.compile(
    r"^\| (.+) \| \[`(.+)`\]\(\.\./monostream_ai/(.+)\) \| `(.+)` \|$", re.MULTILINE
)
ROWS: Final = ROW.findall(PAGE)


def names_in(body: list[ast.stmt]) -> set[str]:
    """Return the names that statements define, and those of classes as `Class.member`."""
    found: set[str] = set()
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {node.name, *(f"{node.name}.{name}" for name in names_in(node.body))}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


@pytest.mark.parametrize(("idea", "shown", "path", "name"), ROWS, ids=[row[0] for row in ROWS])
def test_a_name_is_in_the_file_that_the_page_says(
    idea: str, shown: str, path: str, name: str
) -> None:
    assert shown == path
    assert name in names_in(ast.parse((ROOT / "monostream_ai" / path).read_text()).body)


def test_every_row_was_understood() -> None:
    lines = [line for line in PAGE.splitlines() if line.startswith("| ") and "](" in line]
    assert len(lines) == len(ROWS) > 40


def test_an_idea_is_in_one_row() -> None:
    ideas = [idea for idea, *_ in ROWS]
    assert len(ideas) == len(set(ideas))
