"""The tested releases of `ai`, and their known faults, which no replay by a server avoids."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from monostream_ai.ui_messages import UIMessage
from monostream_ai.ui_messages.profiles import Profile, check_profile, refuses

RELEASES: Final = (
    "5.0.100",
    "5.0.216",
    "5.0.277",
    "6.0.100",
    "6.0.230",
    "6.0.326",
    "7.0.0",
    "7.0.31",
    "7.0.60",
    "7.0.173",
)
LATEST: Final = ("5.0.277", "6.0.326", "7.0.173")
PAGES: Final = (
    *((release, False) for release in RELEASES),
    *((release, True) for release in LATEST),
)
"""Releases, each with whether its page keeps silent about which one it is."""

OLD: Final = frozenset(RELEASES) - set(LATEST)
"""They begin a resumed message as a copy of the last one. Fixed in 5.0.233, 6.0.250 and 7.0.61."""

SAME_TAB: Final = "same tab"
EMPTIED: Final = "same tab, emptied"
REFRESH: Final = "refresh"
OVER_PARTIAL: Final = "refresh over what was shown"
OVER_ANSWERED: Final = "refresh over what was answered"


Parts = Sequence[Mapping[str, Any]]


class Fault(NamedTuple):
    """A view in which these releases show something else than without the cut whenever `strikes`
    says so, and never otherwise.

    It is told the parts that the page showed, and those that it had got, which a step without a
    part is not shown among.
    """

    what: str
    view: str
    releases: frozenset[str]
    strikes: Callable[[Parts, Parts], bool]


def profile_of(release: str) -> Profile:
    return check_profile(f"v{release[0]}")


def _doubles(parts: Parts) -> bool:
    # Calls, and data with an id, are updated where they stand.
    return any(
        "toolCallId" not in part and not (part["type"].startswith("data-") and "id" in part)
        for part in parts
    )


def _showed(shown: Parts, got: Parts) -> bool:
    return _doubles(shown)


def _got(shown: Parts, got: Parts) -> bool:
    return _doubles(got)


def _showed_half_an_input(shown: Parts, got: Parts) -> bool:
    return _doubles(shown) and any(part.get("state") == "input-streaming" for part in shown)


FAULTS: Final = (
    Fault("the page has what it had twice", SAME_TAB, OLD, _showed),
    Fault("the page has what it had twice", OVER_PARTIAL, OLD, _showed),
    Fault("the page has what it had twice", OVER_ANSWERED, OLD, _showed),
    Fault("the page has what it had twice", SAME_TAB, frozenset({"5.0.277"}), _got),
    Fault(
        "the page has what it had twice",
        OVER_PARTIAL,
        frozenset({"5.0.277"}),
        _showed_half_an_input,
    ),
)
"""Two ways around them work on every release: a history without the answer that runs (`REFRESH`),
and dropping it before resuming (`EMPTIED`; 5.0.277 also needs a `fetch` that hides from it that the
connection broke).
"""


def after_a_replay(profile: Profile, messages: Sequence[UIMessage]) -> list[UIMessage]:
    """Return what a replay can show of messages: `ai` 6 has no chunk that says how an approval was
    answered, so it sees the call run, or its refusal.
    """
    if not refuses(profile, "tool-approval-response"):
        return list(messages)
    return [
        {**message, "parts": [_without_answer(part) for part in message["parts"]]}
        for message in messages
    ]


def _without_answer(part: Mapping[str, Any]) -> dict[str, Any]:
    if "approval" not in part:
        return dict(part)
    rest = {key: value for key, value in part.items() if key != "approval"}
    return rest if part["approval"].get("approved") else part | {"approval": _asked(part)}


def _asked(part: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": part["approval"]["id"]}


def faults_of(release: str) -> list[Fault]:
    return [fault for fault in FAULTS if release in fault.releases]
