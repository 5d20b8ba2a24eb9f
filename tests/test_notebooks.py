"""Every notebook runs from a clean kernel and is committed with its output."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

from notebooks.execute import execute, notebooks
from tests.plugins.postgres import import_pgserver

MAX_BYTES = 300_000
"""A code host shows a notebook of this size at once."""

NOTEBOOKS = [pytest.param(path, id=path.stem) for path in notebooks()]


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def kind(output: Any) -> tuple[object, ...]:
    """Return the parts of an output that each run repeats: its type, the lines of a text, and the
    whole of a message.
    """
    if output.output_type == "stream":
        return "stream", output.name, output.text.count("\n")
    data = output.get("data", {})
    return output.output_type, *sorted(data), data.get("text/markdown")


@pytest.mark.parametrize("path", NOTEBOOKS)
async def test_a_notebook_runs_and_shows_what_is_committed(path: Path) -> None:
    import_pgserver()
    committed = nbformat.read(path, as_version=4)

    fresh = await execute(path)

    shown = [[kind(output) for output in cell.outputs] for cell in code_cells(fresh)]
    assert [[kind(output) for output in cell.outputs] for cell in code_cells(committed)] == shown
    outputs = [output for cell in code_cells(fresh) for output in cell.outputs]
    assert not [output for output in outputs if output.get("name") == "stderr"]
    assert not [output.text for output in outputs if "False" in output.get("text", "")]


@pytest.mark.parametrize("path", NOTEBOOKS)
def test_what_is_committed_was_run_in_order_and_shows_nothing_of_the_machine(path: Path) -> None:
    cells = code_cells(nbformat.read(path, as_version=4))
    shown = "".join(str(cell.outputs) for cell in cells)

    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not re.search(r"/(home|root|tmp|Users|var)/", shown)
    assert path.stat().st_size < MAX_BYTES


def test_the_table_names_every_notebook() -> None:
    table = (notebooks()[0].parent / "README.md").read_text()

    assert re.findall(r"^\| \[`(.+?)`\]\(\1\)", table, re.MULTILINE) == [
        path.name for path in notebooks()
    ]
