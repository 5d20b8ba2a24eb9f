"""Run notebooks from a clean kernel and save them with their output; `scripts/notebooks` calls it,
and the tests run notebooks with it. The picture of the README is a copy of a notebook's.

python notebooks/execute.py [FILE …]    # all of this folder by default
"""

from __future__ import annotations

import asyncio
import base64
import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent
CELL_TIMEOUT = 120
"""Seconds for one cell."""
PICTURES = {"2_crash.ipynb": FOLDER.parent / "docs" / "images" / "crash.png"}
"""By notebook, the file that keeps a copy of its first picture."""


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
    # The kernel warns that it listens on the loopback interface without encryption.
    client.extra_arguments = ["--log-level=ERROR"]
    # Cells, and processes that they start, import the package of this repository even where
    # another one is installed.
    environment = os.environ | {"PYTHONPATH": str(FOLDER.parent)}
    await client.async_execute(cwd=str(path.parent), env=environment)
    return notebook


def first_picture(notebook: nbformat.NotebookNode) -> bytes:
    """Return the first PNG that the notebook shows."""
    outputs = (output for cell in notebook.cells for output in cell.get("outputs", ()))
    pictures = (
        output.data["image/png"] for output in outputs if "image/png" in output.get("data", ())
    )
    return base64.b64decode(next(pictures))


def save(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Save it without the parts that differ between machines, so that a diff shows only changes."""
    notebook.metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
    }
    for number, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{number}", {}
    nbformat.write(notebook, path)


async def main(paths: list[Path]) -> None:
    for path in paths or notebooks():
        notebook = await execute(path)
        save(notebook, path)
        if path.name in PICTURES:
            PICTURES[path.name].write_bytes(first_picture(notebook))
        print(path.name)


if __name__ == "__main__":
    asyncio.run(main([Path(argument) for argument in sys.argv[1:]]))
