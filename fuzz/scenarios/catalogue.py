"""All scenarios by name, with how often each is picked."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from fuzz.draws import hashed
from fuzz.scenarios import (
    abort,
    answers,
    cancelling,
    crash,
    crowd,
    fencing,
    idle,
    leases,
    live,
    mixed,
    notifications,
    payloads,
    reading,
    retention,
    shutdown,
    stopping,
)
from fuzz.world import World

Scenario = Callable[[World], Coroutine[Any, Any, None]]

SEED: Final[dict[str, Scenario]] = {
    "live": live.live,
    "replay": live.replay,
    "crash-replay": crash.crash_replay,
    "crash-live": crash.crash_live,
    "late-join": live.late_join,
    "mixed": mixed.mixed,
    "abort": abort.abort,
    "pre-aborted": abort.pre_aborted,
    "reuse": crash.reuse,
}
"""The nine that the seed has."""

FAULTS: Final[dict[str, Scenario]] = {
    "zombie": fencing.zombie,
    "racers": fencing.racers,
    "fenced-in-flight": fencing.fenced_in_flight,
    "stop-race": stopping.stop_race,
    "dead-stopper": stopping.dead_stopper,
    "bad-notifications": notifications.bad_notifications,
    "lost-notifications": notifications.lost_notifications,
    "lost-answers": answers.lost_answers,
    "lost-answer-then-fenced": answers.lost_answer_then_fenced,
    "outage": answers.outage,
    "killed": answers.killed,
    "cancelled-writes": cancelling.cancelled_writes,
    "cancelled-block": cancelling.cancelled_block,
    "paused-publisher": leases.paused_publisher,
    "short-pause": leases.short_pause,
    "reaper": leases.reaper,
    "slow-reader": reading.slow_reader,
    "join-at-every-instant": reading.join_at_every_instant,
    "resume": reading.resume,
    "this-turn-only": reading.this_turn_only,
    "deleted": retention.deleted,
    "pruned": retention.pruned,
    "odd-payloads": payloads.odd_payloads,
    "shutdown": shutdown.shutdown,
    "stopped-while-idle": idle.stopped_while_idle,
    "fenced-while-idle": idle.fenced_while_idle,
    "dropped": idle.dropped,
    "crowd": crowd.crowd,
    "behind-the-window": reading.behind_the_window,
}

SCENARIOS: Final = SEED | FAULTS

RARE: Final = ("behind-the-window",)
"""Picked once where others are picked fifty times: they cost as much as fifty."""


def pick(number: int, names: Sequence[str]) -> str:
    """Return one of the names for a random number."""
    name = names[number % len(names)]
    if name in RARE and len(names) > 1 and hashed(f"rare {number}") % 50:
        return names[0] if names[0] not in RARE else names[-1]
    return name
