from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.browser.demo import Demo, run_demo
from tests.browser.scripted_server import Scripted, run_scripted

HERE = Path(__file__).parent
SCREENSHOTS = HERE.parents[1] / "ci-output"
PATIENCE = 100.0
"""Seconds for one story."""

Play = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of Chromium, if everything needed to drive it is installed."""
    found = (
        shutil.which("chromium")
        or shutil.which("chromium-browser")
        or shutil.which("google-chrome")
    )
    if not found:
        pytest.skip("no Chromium: install the package chromium")
    if not shutil.which("node"):
        pytest.skip("no Node: install Node 20 or newer")
    if not (HERE / "node_modules" / "playwright-core").is_dir():
        pytest.skip("no playwright-core: run scripts/test, or `npm ci` in tests/browser")
    return found


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[str]:
    """One Chromium for all tests; each test opens its own profiles."""
    command = ["node", str(HERE / "driver" / "browser.mjs"), chromium]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()


@pytest.fixture(params=["sqlite"])
def database_url(chromium: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database: SQLite, unless the test asks for Postgres."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'chat.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def tokens_per_second() -> int:
    """The pace of the model; a test that does a lot during an answer uses a slower one."""
    return 120


@pytest.fixture
async def demo(database_url: str, tokens_per_second: int) -> AsyncIterator[Demo]:
    async with run_demo(database_url, tokens_per_second) as demo:
        yield demo


@pytest.fixture
async def scripted(chromium: str) -> AsyncIterator[Scripted]:
    async with run_scripted("memory://") as scripted:
        yield scripted


@pytest.fixture
def play(browser: str, demo: Demo) -> Play:
    """Play a story of driver/stories.mjs; return the content of the page.

    Screenshots go to ci-output/, and axe checks each page.
    """
    return partial(_play, {"url": demo.url, "browser": browser})


@pytest.fixture
def act(browser: str, scripted: Scripted) -> Play:
    """Play a scenario of driver/scenarios.mjs on the scripted server; return the page's content."""
    return partial(_play, {"url": scripted.url, "browser": browser})


async def _play(
    setting: dict[str, str], story: str, page: str = "", **options: Any
) -> dict[str, Any]:
    SCREENSHOTS.mkdir(exist_ok=True)
    task = {**setting, "story": story, "page": page, "screenshots": str(SCREENSHOTS), **options}
    driver = await asyncio.create_subprocess_exec(
        "node", str(HERE / "driver" / "run.mjs"), json.dumps(task), stdout=PIPE, stderr=PIPE
    )
    try:
        out, errors = await asyncio.wait_for(driver.communicate(), PATIENCE)
    finally:
        if driver.returncode is None:
            driver.kill()
            await driver.wait()
    assert driver.returncode == 0, errors.decode()
    result: dict[str, Any] = json.loads(out)
    assert not result["errors"], "\n".join(result["errors"])
    return result
