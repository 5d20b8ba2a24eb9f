"""The conformance suites in a project of their users, in pytest-asyncio's strict mode."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

THEIR_SETTINGS = """
[pytest]
asyncio_mode = strict
asyncio_default_fixture_loop_scope = function
filterwarnings = error
"""

THEIR_TESTS = """
import pytest
import pytest_asyncio

from monostream_ai.notifiers.memory import MemoryNotifier
from monostream_ai.stores.memory import MemoryStore
from monostream_ai.testing import FaultScenarios, NotifierConformance, StoreConformance

{broken}

class TestTheirStore(StoreConformance):
    @pytest_asyncio.fixture
    async def store(self):
        self.now = 0.0
        store = {store}(clock=lambda: self.now)
        yield store
        await store.aclose()

    async def pass_time(self, seconds):
        self.now += seconds


class TestTheirNotifier(NotifierConformance):
    @pytest.fixture
    def notifier(self):
        return {notifier}()

    @pytest.fixture
    def peer(self, notifier):
        return notifier


class TestTheirFaults(FaultScenarios):
    @pytest.fixture
    def make_parts(self):
        store, notifier = {store}(), {notifier}()
        return lambda: (store, notifier)
"""

BROKEN_STORES = {
    "reads the latest version and then takes the next": """
    async def acquire(self, stream_id, version, opening):
        import asyncio
        latest = await self.info(stream_id)
        await asyncio.sleep(0)
        if version is None:
            version = latest.version + 1 if latest else 0
        return await super().acquire(stream_id, version, opening)
""",
    "ignores the size of a page": """
    async def read(self, positions, *, max_rows, max_bytes):
        return await super().read(positions, max_rows=max_rows, max_bytes=2**40)
""",
    "does not renew": """
    async def renew(self, leases, *, lease):
        return await self.check(leases)
""",
    "claims from the living": """
    async def claim(self, taker, *, lease, stop):
        return await super().claim(taker, lease=lease, stop=True)
""",
    "prunes what is leased": """
    async def prune(self, *, older_than, limit):
        return await super().prune(older_than=-1e9, limit=limit)
""",
    "sorts keys": """
    async def append(self, appends, *, lease):
        import dataclasses, json
        sort = lambda payload: json.dumps(json.loads(payload), sort_keys=True)
        sorted_appends = [
            dataclasses.replace(append, payloads=[*map(sort, append.payloads)])
            for append in appends
        ]
        return await super().append(sorted_appends, lease=lease)
""",
}


STORES_WITH_A_FAULT = {
    "appends again what had landed": """
    async def append(self, appends, *, lease):
        import dataclasses
        infos = [await self.info(each.lease.stream_id, each.lease.version) for each in appends]
        moved = [
            dataclasses.replace(each, first=info.next_id) for each, info in zip(appends, infos)
        ]
        return await super().append(moved, lease=lease)
""",
    "lets a zombie write": """
    async def acquire(self, stream_id, version, opening):
        before = dict(self._streams.get(stream_id, {}))
        tokens = {number: row.token for number, row in before.items()}
        opened = await super().acquire(stream_id, version, opening)
        for number, row in before.items():
            row.token = tokens[number]
        return opened
    def _refusal(self, lease):
        verdict = super()._refusal(lease)
        return None if type(verdict).__name__ == "Fenced" else verdict
""",
    "never says that a publisher is lost": """
    async def read(self, positions, *, max_rows, max_bytes):
        import dataclasses
        pages = await super().read(positions, max_rows=max_rows, max_bytes=max_bytes)
        return [
            dataclasses.replace(
                page, head=page.head and dataclasses.replace(page.head, lease_left=9.0)
            )
            for page in pages
        ]
""",
    "lets everybody end what was lost": """
    async def claim(self, taker, *, lease, stop):
        row = self._row(taker)
        row.token = taker.token
        return row.next_id
""",
}


def run(
    directory: Path,
    *,
    broken: str = "",
    store: str = "MemoryStore",
    notifier: str = "MemoryNotifier",
    only: str = "",
) -> tuple[int, int]:
    """Return how many of their tests passed and failed.

    Args:
        only: As for `pytest -k`; the first failure is enough then.
    """
    stop = ["-x", "-k", only] if only else []
    path = directory / "test_theirs.py"
    (directory / "pytest.ini").write_text(THEIR_SETTINGS)
    path.write_text(THEIR_TESTS.format(broken=broken, store=store, notifier=notifier))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        *stop,
        "--rootdir",
        str(directory),
        str(path),
    ]
    result = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    output = result.stdout
    assert output, result.stderr
    counts = {
        word: int(number)
        for number, word in re.findall(r"(\d+) (passed|failed|errors?)", output.splitlines()[-1])
    }
    return counts.get("passed", 0), counts.get("failed", 0) + counts.get("error", 0) + counts.get(
        "errors", 0
    )


def test_the_suites_run_in_strict_mode(tmp_path: Path) -> None:
    passed, failed = run(tmp_path)
    assert passed > 200
    assert failed == 0


@pytest.mark.parametrize("fault", list(BROKEN_STORES))
def test_the_suite_notices_a_store_that(tmp_path: Path, fault: str) -> None:
    broken = f"class Broken(MemoryStore):{BROKEN_STORES[fault]}"
    passed, failed = run(tmp_path, broken=broken, store="Broken")
    assert passed > 0
    assert failed > 0


def test_the_suite_notices_a_notifier_that_delivers_after_a_listener_left(tmp_path: Path) -> None:
    broken = """
class Broken(MemoryNotifier):
    async def listen(self, listener, on_error):
        await super().listen(listener, on_error)
        async def stop():
            pass
        return stop
"""
    passed, failed = run(tmp_path, broken=broken, notifier="Broken")
    assert passed > 0
    assert failed > 0


@pytest.mark.parametrize("fault", list(STORES_WITH_A_FAULT))
def test_the_fault_scenarios_notice_a_store_that(tmp_path: Path, fault: str) -> None:
    broken = f"class Broken(MemoryStore):{STORES_WITH_A_FAULT[fault]}"
    _, failed = run(tmp_path, broken=broken, store="Broken", only="TheirFaults")
    assert failed > 0


def test_the_fault_scenarios_notice_a_notifier_that_cannot_be_listened_to(tmp_path: Path) -> None:
    broken = """
class Broken(MemoryNotifier):
    async def listen(self, listener, on_error):
        raise OSError("no broker")
"""
    _, failed = run(tmp_path, broken=broken, notifier="Broken", only="TheirFaults and wake_ups")
    assert failed > 0
