"""What goes wrong on purpose: a store whose calls are slow, fail, lose their answer or freeze, and
a notifier that lies.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol, TypeVar

from fuzz.draws import Draws
from fuzz.forwarding import ForwardingStore
from fuzz.turns import turns
from monostream_ai.errors import StoreUnavailable
from monostream_ai.interfaces import BackgroundErrors, Listener, Notifier, Store
from monostream_ai.types import Append, Lease, Position, WakeUp

T = TypeVar("T")

FATES: Final = ("delivered", "lost", "doubled", "late", "stale", "invented", "lost")


class Log(Protocol):
    """Takes a line of the trace."""

    def __call__(self, *line: object) -> None: ...


def ignore(*line: object) -> None:
    """Take a line that nobody will read."""


class FaultyStore(ForwardingStore):
    """One process's way to the store.

    Args:
        slow: Loop turns that a call takes at most on its way there, and on its way back.
        refused: Percent of calls that fail before they reach the store.
        answers_lost: Percent of calls that take effect and then fail.
    """

    def __init__(
        self,
        inner: Store,
        draws: Draws,
        log: Log,
        *,
        slow: int = 0,
        refused: int = 0,
        answers_lost: int = 0,
    ) -> None:
        super().__init__(inner)
        self._draws = draws
        self._log = log
        self.slow = slow
        self.refused = refused
        self.answers_lost = answers_lost
        self.dead = False
        self._running = asyncio.Event()
        self._running.set()

    def pause(self) -> None:
        """Let no call through or back, as if the process were stopped."""
        self._running.clear()

    def resume(self) -> None:
        self._running.set()

    def die(self) -> None:
        """Fail every call, those on their way too: the process is gone, its appends may or may not
        have landed.
        """
        self.dead = True
        self._running.set()

    async def _call(self, name: str, call: Callable[[], Awaitable[T]], *details: object) -> T:
        if self._log is not ignore:
            self._log("store", name, *map(_told, details))
        await self._way("there")
        if self.refused and self._draws.chance("refused", self.refused):
            self._log("store", name, "REFUSED")
            raise StoreUnavailable("the fuzzer refused the call")
        result = await call()
        await self._way("back")
        if self.answers_lost and self._draws.chance("answer lost", self.answers_lost):
            self._log("store", name, "ANSWER LOST")
            raise StoreUnavailable("the fuzzer lost the answer")
        self._log("store", name, "->", result)
        return result

    async def _way(self, direction: str) -> None:
        if self.slow:
            await turns(self._draws.number(f"turns {direction}", 0, self.slow))
        if not self._running.is_set():
            self._log("store", "frozen", direction)
            await self._running.wait()
        if self.dead:
            raise StoreUnavailable("the process is dead")


def _told(detail: object) -> object:
    match detail:
        case Append(lease, first, payloads, closes):
            return lease.version, first, len(payloads), closes
        case Position(_, version, next_id):
            return version, next_id
        case Lease(_, version, _):
            return version
    return detail


class FaultyNotifier(Notifier):
    """Loses, doubles, delays, reorders and invents wake-ups, and says that it is healthy all the
    while.

    Args:
        delay: Seconds by which a wake-up comes late at most.
        streams: Whom invented wake-ups are about.
        only: The one fate of all wake-ups, instead of any.
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
        self._inner = inner
        self._draws = draws
        self._log = log
        self._delay = delay
        self._streams = streams
        self._fates = FATES if only is None else (only,)

    @property
    def healthy(self) -> bool:
        return True

    async def notify(self, wake_ups: Sequence[WakeUp]) -> None:
        if self._draws.chance("notify fails", 10):
            self._log("notify FAILS")
            raise OSError("the fuzzer broke the notify statement")
        await self._inner.notify(wake_ups)

    async def listen(
        self, listener: Listener, on_error: BackgroundErrors
    ) -> Callable[[], Awaitable[None]]:
        return await self._inner.listen(_FaultyListener(self, listener), on_error)

    async def aclose(self) -> None:
        """Leave the inner notifier open; others share it."""

    def fate_of(self, wake_up: WakeUp) -> list[tuple[float, WakeUp]]:
        """Return what is delivered instead, and after how many seconds."""
        fate = self._draws.choice("fate", self._fates)
        self._log("wake-up", wake_up.version, wake_up.id, fate)
        match fate:
            case "delivered":
                return [(0.0, wake_up)]
            case "doubled":
                return [(0.0, wake_up)] * 2
            case "late":
                return [(self._delay * self._draws.number("late", 1, 100) / 100, wake_up)]
            case "stale":
                return [
                    (0.0, wake_up._replace(id=self._draws.number("stale", -1, max(wake_up.id, -1))))
                ]
            case "invented":
                return [(0.0, self._invented())]
        return []

    def loses_resync(self) -> bool:
        return self._draws.chance("resync lost", 50)

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
        for when, changed in self._faulty.fate_of(wake_up):
            asyncio.get_running_loop().call_later(when, self._inner.on_wake_up, changed)

    def on_resync(self) -> None:
        if not self._faulty.loses_resync():
            self._inner.on_resync()
