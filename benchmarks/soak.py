"""Hours of use in half an hour: a chat on two server processes and Postgres, and whether anything
grows.

python benchmarks/soak.py [--minutes 30] [--seed 1] [--json benchmarks/soak.json] [--plot
benchmarks/plots/soak.png]

The exit code is 1 if anything grew, was left, or was read that is not what is stored.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import httpx

from benchmarks.database import Server
from benchmarks.soaking.ending import Ending, wind_up
from benchmarks.soaking.load import Load, Schedule
from benchmarks.soaking.processes import ServerProcess
from benchmarks.soaking.sampling import Sample, Sampler
from benchmarks.soaking.server import HANDED_OVER
from benchmarks.soaking.tally import Tally
from benchmarks.soaking.turns import Turn
from benchmarks.soaking.verdicts import Measure, columns, judge, rows, table
from monostream_ai import create_service

LEASE = 3.0
EVERY = 5.0
"""Seconds between samples, in a run that is long enough."""

STARTED = ("age 1", 10.0, float("inf"))
"""After a start, it takes a while until a process has all that it needs."""

UNDISTURBED = ("lag", 0.0, 5.0)
"""The machine may be shared. Where the reader itself was never late by more than so many ms, little
else kept anybody waiting.
"""

MEASURES = [
    Measure("memory 0", "MB", (0.02, 1.0)),
    Measure("objects 0", "", (0.02, 2000.0)),
    Measure("tasks 0", "", (0.1, 3.0)),
    Measure("threads 0", "", (0.0, 4.0)),
    Measure("files 0", "", (0.1, 3.0)),
    Measure("tasks 1", "", (0.1, 3.0), only=STARTED),
    Measure("threads 1", "", (0.0, 4.0), only=STARTED),
    Measure("files 1", "", (0.1, 3.0), only=STARTED),
    Measure("connections", "", (0.1, 1.0)),
    Measure("stream_chunk size", "MB", (0.2, 0.5)),
    Measure("stream_version size", "MB", (0.2, 0.5)),
    Measure("p50 across", "ms", (0.5, 2.0), only=UNDISTURBED),
    Measure("p99 across", "ms", (0.5, 10.0), only=UNDISTURBED),
]


@asynccontextmanager
async def two_servers(http: httpx.AsyncClient, url: str) -> AsyncIterator[list[ServerProcess]]:
    """Start both processes; they are gone at the end of the block, however it ends."""
    servers = [ServerProcess(http, url, LEASE) for _ in range(2)]
    try:
        await asyncio.gather(*(server.start() for server in servers))
        yield servers
    finally:
        for server in servers:
            server.kill_at_once()


class Soak:
    """A run on one database."""

    def __init__(self, url: str, minutes: float, seed: int) -> None:
        self.tally = Tally()
        self.kills: list[tuple[float, int]] = []
        self.samples: list[Sample] = []
        self.ending: Ending
        self._url = url
        self._seconds = minutes * 60
        self._seed = seed

    async def run(self) -> None:
        http = httpx.AsyncClient(timeout=60.0, limits=httpx.Limits(max_connections=None))
        async with (
            http,
            create_service(self._url) as stored,
            two_servers(http, self._url) as servers,
        ):
            sampler = Sampler(self._url, servers, self.tally)
            await sampler.open()
            await sampler.execute(HANDED_OVER)
            for number in range(4):
                await Turn(
                    http, servers, stored, self.tally, random.Random(number), f"warm-up-{number}", 0
                ).run()
            before = await sampler.sample()
            begin = time.monotonic()
            load = Load(
                http,
                servers,
                stored,
                self.tally,
                Schedule(begin, begin + self._seconds),
                self._seed,
            )
            sampling = asyncio.create_task(sampler.run(every=min(EVERY, self._seconds / 36)))
            await load.run()
            sampling.cancel()
            with suppress(asyncio.CancelledError):
                await sampling
            self.kills, self.samples = load.kills, sampler.samples
            self.ending = await wind_up(servers, sampler, before, load.ended, self.tally)
            await sampler.close()


async def soaked(minutes: float, seed: int) -> Soak:
    with Server() as server:
        soak = Soak(await server.new_database(), minutes, seed)
        await soak.run()
        return soak


def report(soak: Soak, options: argparse.Namespace) -> dict[str, Any]:
    return {
        "machine": {"python": platform.python_version(), "processors": os.cpu_count()},
        "minutes": options.minutes,
        "seed": options.seed,
        "counts": dict(sorted(soak.tally.counts.items())),
        "mismatches": soak.tally.mismatches,
        "ending": asdict(soak.ending),
        "kills": [[round(seconds, 1), place] for seconds, place in soak.kills],
        "samples": columns(soak.samples),
    }


def conclude(run: dict[str, Any], options: argparse.Namespace) -> bool:
    """Judge a run, and write, draw and print what came of it; return whether all is well."""
    samples, ending = rows(run["samples"]), run["ending"]
    verdicts = [
        verdict for measure in MEASURES if (verdict := judge(measure, samples, run["minutes"] * 60))
    ]
    options.json.write_text(
        json.dumps({**run, "verdicts": [asdict(verdict) for verdict in verdicts]}) + "\n"
    )
    if options.plot is not None:
        from benchmarks.soaking.picture import draw

        draw(samples, run["kills"], options.plot)
    print(", ".join(f"{name} {count:,}" for name, count in run["counts"].items()))
    print(
        f"handed over {ending['handed_over']:,}, again {ending['handed_over_again']:,}; {len(run['mismatches'])} mismatches"
    )
    print(
        *ending["left"] or [f"nothing was left {ending['settled_after']:.1f} s after the load"],
        sep="\n",
    )
    print(table(verdicts))
    return (
        not run["mismatches"] and not ending["left"] and all(verdict.flat for verdict in verdicts)
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument(
        "--seed", type=int, default=1, help="of the load; instants are not repeated"
    )
    parser.add_argument("--json", type=Path, default=Path(__file__).with_suffix(".json"))
    parser.add_argument("--plot", type=Path, help="a PNG; needs matplotlib")
    parser.add_argument(
        "--again",
        action="store_true",
        help="run nothing: judge and draw the run that the JSON holds",
    )
    options = parser.parse_args()
    if options.again:
        run = json.loads(options.json.read_text())
    else:
        run = report(asyncio.run(soaked(options.minutes, options.seed)), options)
    return 0 if conclude(run, options) else 1


if __name__ == "__main__":
    sys.exit(main())
