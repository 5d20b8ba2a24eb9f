from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest

from tests.browser.demo import Demo, Demos
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


@pytest.fixture(scope="session")
def driver(chromium: str) -> Iterator[Driver]:
    """One player for all tests: to load Playwright takes half a second of a processor."""
    driver = Driver()
    yield driver
    driver.close()


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
def play(browser: str, driver: Driver, demo: Demo) -> Play:
    """Play a story of driver/stories.mjs; return the content of the page.

    Screenshots go to ci-output/, and axe checks each page.
    """
    return partial(driver.play, {"url": demo.url, "browser": browser})


@pytest.fixture
def act(browser: str, driver: Driver, scripted: Scripted) -> Play:
    """Play a scenario of driver/scenarios.mjs on the scripted server; return the page's content."""
    return partial(driver.play, {"url": scripted.url, "browser": browser})


class Driver:
    """A process that plays stories, one after another."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    async def play(
        self, setting: dict[str, str], story: str, page: str = "", **options: Any
    ) -> dict[str, Any]:
        SCREENSHOTS.mkdir(exist_ok=True)
        task = {**setting, "story": story, "page": page, "screenshots": str(SCREENSHOTS), **options}
        try:
            async with asyncio.timeout(PATIENCE):
                line = await asyncio.to_thread(self._ask, json.dumps(task))
            assert line, "the driver has ended"
        except BaseException:
            # The next story must not get the answer of this one.
            self.close()
            raise
        result: dict[str, Any] = json.loads(line)
        assert not result["errors"], "\n".join(result["errors"])
        return result

    def _ask(self, task: str) -> str:
        if self._process is None:
            command = ["node", str(HERE / "driver" / "run.mjs")]
            self._process = subprocess.Popen(command, stdin=PIPE, stdout=PIPE, encoding="utf-8")
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{task}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline()

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
