"""The conformance suites in a project of their users, in pytest-asyncio's strict mode."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

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
    async def claim(self, taker, *, lease, stop, attempt=None, waits=False):
        return await super().claim(taker, lease=lease, stop=True, attempt=attempt, waits=waits)
""",
    "goes on in any attempt": """
    async def claim(self, taker, *, lease, stop, attempt=None, waits=False):
        row = self._row(taker)
        if row is not None and attempt is not None:
            row.attempt = attempt - 1
        return await super().claim(taker, lease=lease, stop=stop, attempt=attempt, waits=waits)
""",
    "goes on with what was stopped": """
    async def claim(self, taker, *, lease, stop, attempt=None, waits=False):
        row = self._row(taker)
        if row is not None and attempt is not None:
            row.stop_requested_at = None
        return await super().claim(taker, lease=lease, stop=stop, attempt=attempt, waits=waits)
""",
    "forgets that a version waits": """
    async def claim(self, taker, *, lease, stop, attempt=None, waits=False):
        return await super().claim(taker, lease=lease, stop=stop, attempt=attempt)
""",
    "lets a version wait that is being written": """
    async def claim(self, taker, *, lease, stop, attempt=None, waits=False):
        if waits:
            self._row(taker).lease_until = 0.0
        return await super().claim(taker, lease=lease, stop=stop, attempt=attempt, waits=waits)
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
    async def claim(self, taker, *, lease, stop, attempt=None, waits=False):
        row = self._row(taker)
        row.token = taker.token
        return row.next_id
""",
}


BROKEN_NOTIFIERS = {
    "delivers after a listener left": """
    async def listen(self, listener, on_error):
        await super().listen(listener, on_error)
        async def stop():
            pass
        return stop
""",
    "mixes up the chunks of two streams": """
    async def notify(self, wake_ups):
        texts = [wake_up.carried for wake_up in wake_ups]
        await super().notify(
            [
                wake_up._replace(carried=text)
                for wake_up, text in zip(wake_ups, reversed(texts), strict=True)
            ]
        )
""",
    "cannot be listened to": """
    async def listen(self, listener, on_error):
        raise OSError("no broker")
""",
}


class Case(NamedTuple):
    """A store or a notifier of theirs, and the suites that should notice its fault."""

    suites: str
    """As for `pytest -k`."""
    store: str | None = None
    notifier: str | None = None

    def tests(self) -> str:
        store = "MemoryStore" if self.store is None else "Broken"
        notifier = "MemoryNotifier" if self.notifier is None else "Broken"
        base, body = (
            ("MemoryStore", self.store)
            if self.notifier is None
            else ("MemoryNotifier", self.notifier)
        )
        broken = "" if body is None else f"class Broken({base}):{body}"
        return THEIR_TESTS.format(broken=broken, store=store, notifier=notifier)


SOUND: Final = "nothing"
CASES: Final = {
    SOUND: Case("Their"),
    **{fault: Case("TheirStore", store=body) for fault, body in BROKEN_STORES.items()},
    **{fault: Case("TheirFaults", store=body) for fault, body in STORES_WITH_A_FAULT.items()},
    "delivers after a listener left": Case(
        "TheirNotifier", notifier=BROKEN_NOTIFIERS["delivers after a listener left"]
    ),
    "mixes up the chunks of two streams": Case(
        "TheirNotifier", notifier=BROKEN_NOTIFIERS["mixes up the chunks of two streams"]
    ),
    "cannot be listened to": Case(
        "TheirFaults and wake_ups", notifier=BROKEN_NOTIFIERS["cannot be listened to"]
    ),
}


class Counts(NamedTuple):
    passed: int
    failed: int


def run(directory: Path, case: Case) -> Counts:
    path = directory / "test_theirs.py"
    (directory / "pytest.ini").write_text(THEIR_SETTINGS)
    path.write_text(case.tests())
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += ["-p", "pytest_asyncio.plugin", "-k", case.suites, f"--rootdir={directory}"]
    if "TheirFaults" in case.suites:
        # The first failure is enough; each takes up to 20 seconds.
        command.append("-x")
    result = subprocess.run(
        [*command, str(path)],
        cwd=Path(__file__).parents[2],
        # Other plugins that are installed here take seconds to import.
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
    )
    assert result.stdout, result.stderr
    words = re.findall(r"(\d+) (passed|failed|error)", result.stdout.splitlines()[-1])
    numbers = {word: int(number) for number, word in words}
    return Counts(numbers.get("passed", 0), numbers.get("failed", 0) + numbers.get("error", 0))


def test_the_suites_run_in_strict_mode(tmp_path: Path) -> None:
    counts = run(tmp_path, CASES[SOUND])
    assert counts.passed > 200
    assert counts.failed == 0


@pytest.mark.parametrize("fault", [fault for fault in CASES if fault != SOUND])
def test_a_suite_notices_what_is_broken(tmp_path: Path, fault: str) -> None:
    counts = run(tmp_path, CASES[fault])
    assert counts.failed > 0
    # The fault scenarios end with the first failure.
    assert counts.passed > 0 or "TheirFaults" in CASES[fault].suites
