"""All scenarios by name, and how often each is picked."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final

from fuzz.scenarios import (
    answers,
    cancelling,
    fencing,
    going_on,
    histories,
    idle,
    leases,
    notifications,
    payloads,
    poison,
    reading,
    retention,
    shutdown,
    stopping,
    watched,
)
from fuzz.scenarios.nine import NINE, crowd
from fuzz.world import World

Scenario = Callable[[World], Coroutine[Any, Any, None]]

SCENARIOS: Final[Mapping[str, Scenario]] = {
    **NINE,
    "zombie": fencing.zombie,
    "racers": fencing.racers,
    "racing-versions": fencing.racing_versions,
    "fenced-in-flight": fencing.fenced_in_flight,
    "stop-race": stopping.stop_race,
    "dead-stopper": stopping.dead_stopper,
    "bad-notifications": notifications.bad_notifications,
    "lost-notifications": notifications.lost_notifications,
    "carried-chunks": notifications.carried_chunks,
    "lost-answers": answers.lost_answers,
    "lost-answer-then-fenced": answers.lost_answer_then_fenced,
    "outage": answers.outage,
    "killed": answers.killed,
    "cancelled-writes": cancelling.cancelled_writes,
    "cancelled-block": cancelling.cancelled_block,
    "paused-publisher": leases.paused_publisher,
    "short-pause": leases.short_pause,
    "reaper": leases.reaper,
    "gone-on": going_on.gone_on,
    "slow-reader": reading.slow_reader,
    "join-at-every-instant": reading.join_at_every_instant,
    "resume": reading.resume,
    "this-turn-only": reading.this_turn_only,
    "deleted": retention.deleted,
    "pruned": retention.pruned,
    "begun-anew": histories.begun_anew,
    "lost-commits": histories.lost_commits,
    "watched": watched.watched,
    "poisoned": poison.poisoned,
    "odd-payloads": payloads.odd_payloads,
    "shutdown": shutdown.shutdown,
    "stopped-while-idle": idle.stopped_while_idle,
    "fenced-while-idle": idle.fenced_while_idle,
    "dropped": idle.dropped,
    "crowd": crowd,
    "behind-the-window": reading.behind_the_window,
}


def _weighted(weights: Mapping[str, int], *, others: int) -> list[str]:
    return [name for name in SCENARIOS for _ in range(weights.get(name, others))]


ON_MEMORY: Final = _weighted({"crowd": 40, "behind-the-window": 1, "odd-payloads": 4}, others=10)
"""The scenarios, each as often as it is picked. Four in five then run in crowds."""

ON_A_DATABASE: Final = _weighted(
    {
        **dict.fromkeys(NINE, 50),
        **dict.fromkeys(
            ("paused-publisher", "short-pause", "dropped", "dead-stopper", "stopped-while-idle"), 4
        ),
        **dict.fromkeys(("odd-payloads", "join-at-every-instant", "crowd"), 4),
        **dict.fromkeys(("begun-anew", "gone-on", "watched", "poisoned"), 4),
        "lost-commits": 1,
        "behind-the-window": 1,
    },
    others=8,
)
"""Scenarios that wait for a lease to run out, or cost more than ten others, are rarer here."""


def pick(number: int, names: Sequence[str]) -> str:
    """Return one of the names for a random number; a name listed twice comes twice as often."""
    return names[number % len(names)]
