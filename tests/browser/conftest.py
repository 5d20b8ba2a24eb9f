from __future__ import annotations

import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.browser.demo import Demo, Demos
from tests.browser.scripted_server import Scripted, run_scripted
from tests.programs import run

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


@pytest.fixture
def store() -> str:
    """The store of the demo: SQLite, unless the test asks for Postgres."""
    return "sqlite"


@pytest.fixture
def tokens_per_second() -> int:
    """The pace of the model; a test that does a lot during an answer uses a slower one."""
    return 120


@pytest.fixture
def kills() -> bool:
    """Whether the test kills servers, and so needs some of its own."""
    return False


@pytest.fixture(scope="module")
def demos(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Demos]:
    demos = Demos(
        lambda: tmp_path_factory.mktemp("demo"),
        lambda: str(request.getfixturevalue("postgres_server")),
    )
    yield demos
    demos.close()


@pytest.fixture
async def demo(
    chromium: str, demos: Demos, store: str, tokens_per_second: int, kills: bool
) -> AsyncIterator[Demo]:
    if kills:
        servers = await demos.start(store, tokens_per_second)
        yield await servers.demo()
        servers.stop()
    else:
        servers = await demos.lasting(store, tokens_per_second)
        yield await servers.demo()


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
    [result] = await run(HERE / "driver" / "run.mjs", [task], patience=PATIENCE)
    assert not result["errors"], "\n".join(result["errors"])
    return result
