"""Parts that fail on purpose: a process's way to a store, and a notifier that nobody hears."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

from monostream_ai.errors import StoreUnavailable
from monostream_ai.interfaces import BackgroundErrors, Listener, Notifier, Store
from monostream_ai.notifiers.forwarding import ForwardingNotifier
from monostream_ai.stores.forwarding import ForwardingStore
from monostream_ai.types import WakeUp

P = ParamSpec("P")
T = TypeVar("T")


class UnreliableStore(ForwardingStore):
    """One process's way to a store, which refuses calls, loses answers, stands still, or ends.

    Args:
        seed: Decides which calls fail.
    """

    def __init__(self, inner: Store, seed: int = 0) -> None:
        super().__init__(inner)
        self.refused = 0.0
        """Share of the calls that fail before they reach the store."""
        self.answers_lost = 0.0
        """Share of the calls that take effect and then fail."""
        self.dead = False
        """Whether the process is gone: nothing gets through, not even what is on its way."""
        self._source = random.Random(seed)
        self._running = asyncio.Event()
        self._running.set()

    def pause(self) -> None:
        """Let nothing through or back, as if the process were stopped."""
        self._running.clear()

    def resume(self) -> None:
        self._running.set()

    def kill(self) -> None:
        """Fail every call from now on."""
        self.dead = True
        self.resume()

    async def _call(
        self, method: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        await self._pass(self.refused)
        result = await method(*args, **kwargs)
        await self._pass(self.answers_lost)
        return result

    async def _pass(self, share: float) -> None:
        """Wait while paused; fail if killed, and else this share of the times."""
        await self._running.wait()
        if self.dead or self._fails(share):
            raise StoreUnavailable("the test says so")

    def _fails(self, share: float) -> bool:
        return self._source.random() < share


class UnheardNotifier(ForwardingNotifier):
    """Says what its inner notifier says, and lets none of its wake-ups arrive while `loses` is
    True.
    """

    def __init__(self, inner: Notifier) -> None:
        super().__init__(inner)
        self.loses = False

    async def listen(
        self, listener: Listener, on_error: BackgroundErrors
    ) -> Callable[[], Awaitable[None]]:
        return await self.inner.listen(_Ear(self, listener), on_error)


class _Ear:
    def __init__(self, notifier: UnheardNotifier, listener: Listener) -> None:
        self._notifier = notifier
        self._listener = listener

    def on_wake_up(self, wake_up: WakeUp) -> None:
        if not self._notifier.loses:
            self._listener.on_wake_up(wake_up)

    def on_resync(self) -> None:
        if not self._notifier.loses:
            self._listener.on_resync()
