"""Run notebooks from a clean kernel and save what they show. `scripts/notebooks` calls it; the
tests run notebooks with it.

python notebooks/execute.py [FILE …]    # all of this folder by default
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent
CELL_TIMEOUT = 120
"""Seconds for one cell."""


def notebooks() -> list[Path]:
    return sorted(FOLDER.glob("*.ipynb"))


async def execute(path: Path) -> nbformat.NotebookNode:
    """Return the notebook as a new kernel in its folder makes it.

    Raises:
        CellExecutionError: A cell raised.
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
    )
    # It warns that it listens on the loopback interface without encryption.
    client.extra_arguments = ["--log-level=ERROR"]
    # The package as it is in this repository, wherever another one is installed, and in the
    # processes that cells start too.
    environment = os.environ | {"PYTHONPATH": str(FOLDER.parent)}
    await client.async_execute(cwd=str(path.parent), env=environment)
    return notebook


def save(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Save it without what differs from machine to machine, so that a difference shows what has
    changed.
    """
    notebook.metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
    }
    for number, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{number}", {}
    nbformat.write(notebook, path)


async def main(paths: list[Path]) -> None:
    for path in paths or notebooks():
        save(await execute(path), path)
        print(path.name)


if __name__ == "__main__":
    asyncio.run(main([Path(argument) for argument in sys.argv[1:]]))
