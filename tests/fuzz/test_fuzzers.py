"""The fuzzers run, report, and catch sabotaged stores."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from fuzz.players import Result, Task
from fuzz.runner import tasks
from fuzz.scenarios.nine import NINE
from fuzz.shrinking import shrink
from fuzz.sites import MemorySite
from fuzz.virtual_player import VirtualPlayer
from monostream_ai.errors import Fenced, MonostreamError, StreamClosed
from monostream_ai.stores.memory import MemoryStore
from monostream_ai.types import Append, Lease, Page, Position
from tests.plugins.postgres import import_pgserver

ROOT = Path(__file__).parents[2]


def fuzz(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, f"fuzz/{script}", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize(("script", "scenarios"), [("mem.py", 400), ("sqlite.py", 60)])
def test_a_fuzzer_finds_nothing(script: str, scenarios: int) -> None:
    run = fuzz(script, "--seed", "42", "--scenarios", str(scenarios))
    assert run.returncode == 0, run.stdout + run.stderr
    assert f"fuzz/{script} seed=42" in run.stdout
    assert "live=" in run.stdout.splitlines()[-2]
    assert "fail=0" in run.stdout.splitlines()[-1]


def test_the_postgres_fuzzer_finds_nothing(postgres_server: str) -> None:
    run = fuzz("pg.py", "--seed", "42", "--scenarios", "60", "--url", postgres_server)
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_postgres_fuzzer_starts_its_own_server() -> None:
    import_pgserver()
    run = fuzz("pg.py", "--seed", "42", "--scenarios", "1")
    assert run.returncode == 0, run.stdout + run.stderr


def test_a_seed_replays_to_the_last_step() -> None:
    for task in itertools.islice(tasks(7), 40):
        first, second = (
            VirtualPlayer(MemorySite).attempt(task, {}, tracing=True) for _ in range(2)
        )
        assert first.trace == second.trace


def test_each_stream_of_a_crowd_counts_as_a_scenario() -> None:
    result = VirtualPlayer(MemorySite).attempt(Task("crowd", 1), {"streams": 10}, tracing=False)
    assert len(result.counted) == 12
    assert {*result.counted} <= {*NINE}


class OffByOne(MemoryStore):
    async def read(
        self, positions: Sequence[Position], *, max_rows: int, max_bytes: int
    ) -> list[Page]:
        later = [each._replace(next_id=each.next_id + (each.next_id == 3)) for each in positions]
        return await super().read(later, max_rows=max_rows, max_bytes=max_bytes)


class WithoutFence(MemoryStore):
    def _refusal(self, lease: Lease) -> MonostreamError | None:
        verdict = super()._refusal(lease)
        return None if isinstance(verdict, Fenced) else verdict


class AppendsTwice(MemoryStore):
    def _landed_before(self, append: Append, row: object) -> bool:
        return False


class WritesBehindTheEnd(MemoryStore):
    def _refusal(self, lease: Lease) -> MonostreamError | None:
        verdict = super()._refusal(lease)
        return None if isinstance(verdict, StreamClosed) else verdict


class ClaimsForAll(MemoryStore):
    async def claim(
        self,
        taker: Lease,
        *,
        lease: float,
        stop: bool,
        attempt: int | None = None,
        waits: bool = False,
    ) -> int | None:
        row = self._row(taker)
        return None if row is None else row.next_id


class SaysDurableTooEarly(MemoryStore):
    """Loses the last payload of every fifth append and says that it landed."""

    async def append(
        self, appends: Sequence[Append], *, lease: float
    ) -> list[MonostreamError | None]:
        kept = [
            Append(
                each.lease,
                each.first,
                each.payloads[:-1] if each.first == 4 else each.payloads,
                each.closes,
            )
            for each in appends
        ]
        return await super().append(kept, lease=lease)


SABOTAGED = [
    OffByOne,
    WithoutFence,
    AppendsTwice,
    WritesBehindTheEnd,
    ClaimsForAll,
    SaysDurableTooEarly,
]


def first_failure(make_site: Callable[[], MemorySite], *, within: int) -> Result | None:
    player = VirtualPlayer(make_site)
    results = (
        player.attempt(task, {}, tracing=False) for task in itertools.islice(tasks(1), within)
    )
    return next((result for result in results if result.error is not None), None)


@pytest.mark.parametrize("store", SABOTAGED)
def test_a_sabotaged_store_is_caught(store: type[MemoryStore]) -> None:
    assert first_failure(lambda: MemorySite(store), within=1000) is not None


def test_a_crowd_that_fails_is_one_failure() -> None:
    player = VirtualPlayer(lambda: MemorySite(OffByOne))
    results = (player.attempt(Task("crowd", seed), {}, tracing=False) for seed in range(100))
    failed = next(result for result in results if result.error is not None)
    assert failed.counted == ("crowd",)


def test_a_failure_shrinks_to_one_that_fails_alone() -> None:
    player = VirtualPlayer(lambda: MemorySite(OffByOne))
    failed = first_failure(lambda: MemorySite(OffByOne), within=1000)
    assert failed is not None
    caps, _ = shrink(
        failed, lambda caps: player.attempt(failed.task, caps, tracing=True), repeats=1
    )
    again = player.attempt(Task(failed.task.name, failed.task.seed), caps, tracing=True)
    assert again.error is not None
    assert again.trace
