"""The blocks of the README can be pasted into `python -m asyncio`, on each Python."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.pages import ROOT, Block, blocks_of
from tests.test_page_blocks import RECORDING, answering, promised

PROGRAMS: Final = [
    pytest.param(block, id=block.place)
    for block in blocks_of(ROOT / "README.md")
    if block.language == "python"
]

PATIENCE: Final = 60.0
"""Seconds that a busy machine gets for a block."""

ESCAPE: Final = re.compile(r"\x1b(?:\[[0-9;?]*[a-zA-Z]|[=>])")
BRACKETED: Final = "\x1b[?2004h"
"""A program that wants to know where a paste begins and ends says so by this."""


class Terminal:
    """A terminal in which `python -m asyncio` runs."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self._folder, self._environment = folder, environment
        self.shown = ""
        self._more = asyncio.Event()

    async def __aenter__(self) -> Terminal:
        self._master, slave = pty.openpty()
        asyncio.get_running_loop().add_reader(self._master, self._read)
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "asyncio"),
            cwd=self._folder,
            env=os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm"} | self._environment,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        return self

    async def __aexit__(self, *raised: object) -> None:
        asyncio.get_running_loop().remove_reader(self._master)
        self._process.kill()
        await self._process.wait()
        os.close(self._master)

    async def until(self, text: str, times: int = 1) -> None:
        async with asyncio.timeout(PATIENCE):
            while self.shown.count(text) < times:
                self._more.clear()
                await self._more.wait()

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def paste(self, text: str) -> None:
        bracketed = BRACKETED in self.shown
        self.type(f"\x1b[200~{text}\x1b[201~" if bracketed else text)

    def _read(self) -> None:
        try:
            self.shown += os.read(self._master, 65536).decode(errors="replace")
        except OSError:  # It has ended.
            asyncio.get_running_loop().remove_reader(self._master)
        self._more.set()


async def pasted(text: str, folder: Path, **environment: str) -> str:
    """Return the terminal's content after a paste, an Enter that ends it, and another one."""
    async with Terminal(folder, **environment) as terminal:
        # The banner has a prompt of its own, before the terminal is set up.
        await terminal.until(">>> ", times=2)
        terminal.paste(text)
        terminal.type("\r\r")
        terminal.type("print('THE', 'END')\r")
        await terminal.until("THE END")
        return ESCAPE.sub("", terminal.shown).replace("\r", "")


@pytest.mark.parametrize("block", PROGRAMS)
async def test_a_block_of_the_readme_can_be_pasted(block: Block, tmp_path: Path) -> None:
    # A paste does not depend on the database.
    text = re.sub(r"postgresql\+asyncpg://[^\"]+", "sqlite+aiosqlite:///chat.db", block.text)
    async with answering(RECORDING) as url:
        settings = {"OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_KEY": "none"}
        shown = await pasted(text, tmp_path, **settings)

    assert "Error" not in shown and "Traceback" not in shown, shown
    lines = shown.splitlines()
    assert [line for line in promised(block.text).splitlines() if line not in lines] == [], shown
