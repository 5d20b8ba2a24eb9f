"""A Postgres that drops connections, stops, crashes, is killed, stands still, or refuses all
clients.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress

from fuzz.parts.postgres import DATABASE, ROLE
from fuzz.parts.stage import Place
from fuzz.rounds.round import Publishing, Round

BACKENDS = (
    "FROM pg_stat_activity WHERE backend_type = 'client backend' "
    f"AND usename = '{ROLE}' AND datname = '{DATABASE}'"
)


async def _busy(round: Round, place: Place) -> Publishing:
    """Let two processes publish and read two streams; return the first publishing."""
    workers = await round.crew(place, 2)
    publishings = [
        round.publish(worker, round.stream(number)) for number, worker in enumerate(workers)
    ]
    for number in range(2):
        round.readers(workers, round.stream(number))
    await round.instant(publishings[0])
    return publishings[0]


async def terminated_backends(round: Round) -> None:
    """The server terminates connections, all or some, several times: no work is interrupted."""
    publishing = await _busy(
        round, round.draws.choice("place", ("postgres", "postgres", "narrow", "pooled"))
    )
    database = await round.stage.postgres.connect()
    for _ in range(round.number("times", 1, 4)):
        share = round.draws.choice("share", (1.0, 0.5))
        await database.execute(
            f"SELECT pg_terminate_backend(pid) {BACKENDS} AND random() < {share}"
        )
        await round.instant(publishing)
    await database.close()
    await round.conclude()


async def stopped_server(round: Round) -> None:
    """The server disconnects all clients, stops, and starts again: publishers and readers wait for
    it.
    """
    await _restart(round, signal.SIGINT)


async def crashed_server(round: Round) -> None:
    """The server crashes, and recovers."""
    await _restart(round, signal.SIGQUIT)


async def killed_server(round: Round) -> None:
    """All processes of the server are killed, and it recovers."""
    await _restart(round, signal.SIGKILL)


async def _restart(round: Round, how: signal.Signals) -> None:
    await _busy(round, round.draws.choice("place", ("postgres", "postgres", "proxied", "pooled")))
    await round.stage.postgres.stop(how)
    try:
        # Sometimes longer than the lease.
        await round.pause("away", round.draws.choice("outage", (0.1, 0.1, 1.3)))
    finally:
        await round.stage.postgres.start()
    await round.conclude()


async def frozen_backends(round: Round) -> None:
    """The server's processes stand still for a while, sometimes for longer than a statement may
    take.
    """
    await _busy(round, "postgres")
    database = await round.stage.postgres.connect()
    pids = [pid for (pid,) in await database.fetch(f"SELECT pid {BACKENDS}")]
    frozen = [pid for pid in pids if round.draws.chance("freeze", 70)]
    for pid in frozen:
        _signal(pid, signal.SIGSTOP)
    try:
        await round.pause("pause", round.draws.choice("length", (0.2, 0.2, 1.5)))
    finally:
        for pid in frozen:
            _signal(pid, signal.SIGCONT)
    await database.close()
    await round.conclude()


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


async def exhausted_server(round: Round) -> None:
    """The server has no connection left for anybody: work goes on once it has."""
    await _busy(round, round.draws.choice("place", ("postgres", "narrow")))
    database = await round.stage.postgres.connect()
    await database.execute(f"ALTER ROLE {ROLE} CONNECTION LIMIT 0")
    try:
        await database.execute(f"SELECT pg_terminate_backend(pid) {BACKENDS}")
        await round.pause("away", 0.4)
    finally:
        await database.execute(f"ALTER ROLE {ROLE} CONNECTION LIMIT -1")
        await database.close()
    await round.conclude()
