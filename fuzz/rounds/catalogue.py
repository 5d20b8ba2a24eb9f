"""All rounds by name, and how often each is picked."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

from fuzz.parts.pooler import pgbouncer_program
from fuzz.rounds import connections, files, processes, servers
from fuzz.rounds.round import Round

ROUNDS: Final[dict[str, Callable[[Round], Coroutine[Any, Any, None]]]] = {
    "killed-publisher": processes.killed_publisher,
    "killed-reader": processes.killed_reader,
    "killed-stopper": processes.killed_stopper,
    "stopped-elsewhere": processes.stopped_elsewhere,
    "killed-crew": processes.killed_crew,
    "paused-publisher": processes.paused_publisher,
    "paused-reader": processes.paused_reader,
    "terminated-backends": servers.terminated_backends,
    "stopped-server": servers.stopped_server,
    "crashed-server": servers.crashed_server,
    "killed-server": servers.killed_server,
    "frozen-backends": servers.frozen_backends,
    "exhausted-server": servers.exhausted_server,
    "cut-connections": connections.cut_connections,
    "frozen-connections": connections.frozen_connections,
    "lost-answers": connections.lost_answers,
    "slow-connections": connections.slow_connections,
    "exhausted-pool": connections.exhausted_pool,
    "killed-pooler": connections.killed_pooler,
    "locked-file": files.locked_file,
    "full-disk": files.full_disk,
}

_OFTEN: Final = ("killed-publisher", "paused-publisher", "terminated-backends", "cut-connections")
"""Picked three times as often as the others: they are quick and can hit any instant."""


def names() -> list[str]:
    """Return the rounds this machine can play; frequent ones are repeated."""
    playable = [name for name in ROUNDS if name != "killed-pooler" or pgbouncer_program()]
    return [*playable, *_OFTEN, *_OFTEN]
