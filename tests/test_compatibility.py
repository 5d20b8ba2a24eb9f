"""docs/compatibility.md names, for each item, a test that exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "compatibility.md"
ROW = re.compile(r"^\| (\d+) \|.*\| (.*) \|$", re.MULTILINE)
TEST = re.compile(r"\[[^]]+\]\(\.\./(tests/[^)]+)\)(?:`::(\w+)`)?")


def test_every_item_is_there_once() -> None:
    assert [int(number) for number, _ in ROW.findall(PAGE.read_text())] == [*range(1, 54)]


def test_every_item_but_the_advice_names_a_test_that_exists() -> None:
    untested = []
    for number, cell in ROW.findall(PAGE.read_text()):
        found = TEST.findall(cell)
        for path, name in found:
            assert f"def {name}" in (ROOT / path).read_text(), f"item {number}: {path}::{name}"
        if not found:
            untested.append(number)
    assert untested == ["53"]
