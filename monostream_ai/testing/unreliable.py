"""A store and a notifier that fail on purpose."""

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
    """One process's connection to a store, which can refuse calls, lose answers, freeze, or die.

    Args:
        seed: Seed of the random numbers that decide which calls fail.

    Raises:
        TypeError: `inner` is no store.
    """

    def __init__(self, inner: Store, seed: int = 0) -> None:
        if not isinstance(inner, Store):
            raise TypeError(f"UnreliableStore needs a store, not {type(inner).__name__}")
        super().__init__(inner)
        self.refused = 0.0
        """Share of calls that fail before they reach the store, from 0 to 1."""
        self.answers_lost = 0.0
        """Share of calls that take effect and then fail, from 0 to 1."""
        self.dead = False
        """Whether the process has died. Every call fails then, even one that is already running."""
        self._source = random.Random(seed)
        self._running = asyncio.Event()
        self._running.set()

    def __repr__(self) -> str:
        state = "dead" if self.dead else "running" if self._running.is_set() else "paused"
        return f"<UnreliableStore {state}, over {self.inner!r}>"

    def pause(self) -> None:
        """Hold back all calls and answers, as if the process were frozen."""
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
        """Wait while paused, then fail if the process is dead, or at random with this share."""
        await self._running.wait()
        if self.dead or self._fails(share):
            raise StoreUnavailable("a test made this call fail")

    def _fails(self, share: float) -> bool:
        return self._source.random() < share


class UnheardNotifier(ForwardingNotifier):
    """Forwards the wake-ups of its inner notifier, and drops them while `loses` is True.

    Raises:
        TypeError: `inner` is no notifier.
    """

    def __init__(self, inner: Notifier) -> None:
        if not isinstance(inner, Notifier):
            raise TypeError(f"UnheardNotifier needs a notifier, not {type(inner).__name__}")
        super().__init__(inner)
        self.loses = False

    def __repr__(self) -> str:
        return f"<UnheardNotifier {'losing' if self.loses else 'forwarding'}, over {self.inner!r}>"

    async def listen(
        self, listener: Listener, on_error: BackgroundErrors
    ) -> Callable[[], Awaitable[None]]:
        return await self.inner.listen(_DroppingListener(self, listener), on_error)


class _DroppingListener:
    def __init__(self, notifier: UnheardNotifier, listener: Listener) -> None:
        self._notifier = notifier
        self._listener = listener

    def on_wake_up(self, wake_up: WakeUp) -> None:
        if not self._notifier.loses:
            self._listener.on_wake_up(wake_up)

    def on_resync(self) -> None:
        if not self._notifier.loses:
            self._listener.on_resync()
