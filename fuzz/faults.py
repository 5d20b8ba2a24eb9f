"""Faults on purpose: a store that is slow, fails, loses answers or freezes, and a notifier that
lies.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final, ParamSpec, Protocol, TypeVar

from fuzz.draws import Draws
from fuzz.virtual_time import turns
from monostream_ai._inline import SEAL_SIZE, Parcel
from monostream_ai.errors import StoreUnavailable
from monostream_ai.interfaces import BackgroundErrors, Listener, Notifier, Store
from monostream_ai.notifiers.forwarding import ForwardingNotifier
from monostream_ai.testing.unreliable import UnreliableStore
from monostream_ai.types import Append, Lease, Position, VersionInfo, WakeUp

P = ParamSpec("P")
T = TypeVar("T")

SHOWN: Final = 40
"""Characters of a message id that a trace shows."""

FATES: Final = (
    "delivered",
    "lost",
    "doubled",
    "late",
    "stale",
    "invented",
    "lost",
    "forged",
    "replayed",
)

REMEMBERED: Final = 100
"""Wake-ups that may be replayed."""


class Log(Protocol):
    """Takes a line of the trace."""

    def __call__(self, *line: object) -> None: ...


def ignore(*line: object) -> None:
    """Drop a line of a trace that nobody will read."""


class FaultyStore(UnreliableStore):
    """One process's way to the store: unreliable by the choices of a scenario, and slow.

    It leaves the store open, which other processes share.

    Args:
        slow: Most turns of the loop that a call takes on its way there, and on its way back.
    """

    def __init__(self, inner: Store, draws: Draws, log: Log, *, slow: int = 0) -> None:
        super().__init__(inner)
        self._draws = draws
        self._log = log
        self.slow = slow

    async def aclose(self) -> None:
        """Leave the inner store open."""

    async def _call(
        self, method: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        if self._log is ignore:
            return await super()._call(method, *args, **kwargs)
        name = method.__name__
        self._log("store", name, *_details(args), *(["stop"] if kwargs.get("stop") else []))
        try:
            result = await super()._call(method, *args, **kwargs)
        except StoreUnavailable as error:
            self._log("store", name, "FAILS:", error)
            raise
        self._log("store", name, "->", _shortened(result))
        return result

    async def _pass(self, share: float) -> None:
        if self.slow:
            await turns(self._draws.number("turns", 0, self.slow))
        await super()._pass(share)

    def _fails(self, share: float) -> bool:
        return share > 0 and self._draws.chance("fails", round(100 * share))


def _details(args: Sequence[object]) -> list[object]:
    """Return the numbers that a trace shows of the arguments of a call."""
    details: list[object] = []
    for arg in args:
        match arg:
            case list():
                details += _details(arg)
            case Append(lease, first, payloads, closes):
                details.append((lease.version, first, len(payloads), closes))
            case Position(_, version, next_id):
                details.append((version, next_id))
            case Lease(_, version, _):
                details.append(version)
            case int():
                details.append(arg)
    return details


def _shortened(result: object) -> object:
    """Return a result as a trace shows it. A message id of a megabyte takes a trace of a thousand
    lines a minute to print.
    """
    match result:
        case list():
            return [_shortened(each) for each in result]
        case VersionInfo(message_id=str(text)) if len(text) > SHOWN:
            return replace(result, message_id=text[:SHOWN])
    return result


class FaultyNotifier(ForwardingNotifier):
    """Loses, doubles, delays, reorders, replays and invents wake-ups, forges the chunks in them,
    and claims to be healthy all the while.

    Args:
        delay: Longest delay of a wake-up, in seconds.
        streams: Ids of the streams that invented wake-ups name.
        only: The one fate of all wake-ups; None draws one for each.
    """

    def __init__(
        self,
        inner: Notifier,
        draws: Draws,
        log: Log,
        *,
        delay: float,
        streams: Sequence[str],
        only: str | None,
    ) -> None:
        super().__init__(inner)
        self._draws = draws
        self._log = log
        self._delay = delay
        self._streams = streams
        self._fates = FATES if only is None else (only,)
        self._heard: list[WakeUp] = []

    @property
    def healthy(self) -> bool:
        return True

    async def notify(self, wake_ups: Sequence[WakeUp]) -> None:
        if self._draws.chance("notify fails", 10):
            self._log("notify FAILS")
            raise OSError("the fuzzer broke the notify statement")
        await self.inner.notify(wake_ups)

    async def listen(
        self, listener: Listener, on_error: BackgroundErrors
    ) -> Callable[[], Awaitable[None]]:
        return await self.inner.listen(_FaultyListener(self, listener), on_error)

    async def aclose(self) -> None:
        """Leave the inner notifier open; others share it."""

    def fate_of(self, wake_up: WakeUp) -> list[tuple[float, WakeUp]]:
        """Return the wake-ups to deliver instead, each with its delay in seconds."""
        fate = self._draws.choice("fate", self._fates)
        self._log("wake-up", wake_up.version, wake_up.id, len(wake_up.carried), fate)
        self._heard = [*self._heard[-REMEMBERED:], wake_up]
        match fate:
            case "delivered":
                return [(0.0, wake_up)]
            case "doubled":
                return [(0.0, wake_up)] * 2
            case "late":
                return [(self._delay * self._draws.number("late", 1, 100) / 100, wake_up)]
            case "stale":
                older = self._draws.number("stale", -1, max(wake_up.id, -1))
                return [(0.0, wake_up._replace(id=older))]
            case "invented":
                return [(0.0, self._invented())]
            case "replayed":
                return [(0.0, self._draws.choice("replayed", self._heard))]
            case "forged":
                return [(0.0, self._forged(wake_up)), (0.0, wake_up)]
        return []

    def loses_resync(self) -> bool:
        return self._draws.chance("resync lost", 50)

    def _forged(self, wake_up: WakeUp) -> WakeUp:
        """Return a wake-up with a chunk of somebody who may notify and not write."""
        id = max(wake_up.id, 0)
        lease = Lease(wake_up.stream_id, wake_up.version, "the token of somebody else")
        parcel = Parcel(lease, id)
        parcel.add(Append(lease, id, ['{"type":"forged"}'], closes=False), 1000)
        forged = parcel.sealed()
        if self._draws.chance("real seal", 50):
            forged = wake_up.carried[:SEAL_SIZE] + forged[SEAL_SIZE:]
        return wake_up._replace(id=id, carried=forged)

    def _invented(self) -> WakeUp:
        version = self._draws.choice("invented version", (0, 1, 5, 2**63 - 1))
        return WakeUp(
            self._draws.choice("stream", self._streams),
            version,
            self._draws.choice("id", (-1, 0, 7, 2**63 - 1)),
        )


class _FaultyListener:
    def __init__(self, faulty: FaultyNotifier, inner: Listener) -> None:
        self._faulty = faulty
        self._inner = inner

    def on_wake_up(self, wake_up: WakeUp) -> None:
        for delay, changed in self._faulty.fate_of(wake_up):
            asyncio.get_running_loop().call_later(delay, self._inner.on_wake_up, changed)

    def on_resync(self) -> None:
        if not self._faulty.loses_resync():
            self._inner.on_resync()
