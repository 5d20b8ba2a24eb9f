"""The base of notifiers that watch or change some of the calls to another one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from monostream_ai.interfaces import BackgroundErrors, Listener, Notifier, Store
from monostream_ai.types import WakeUp


class ForwardingNotifier(Notifier):
    """Passes every call on to `inner`; override the calls to watch or to change."""

    def __init__(self, inner: Notifier) -> None:
        self.inner = inner

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.inner!r}>"

    @property
    def healthy(self) -> bool:
        return self.inner.healthy

    @property
    def most_carried(self) -> int:
        return self.inner.most_carried

    async def is_confidential(self) -> bool:
        return await self.inner.is_confidential()

    def lend_to(self, store: Store) -> None:
        self.inner.lend_to(store)

    async def notify(self, wake_ups: Sequence[WakeUp]) -> None:
        await self.inner.notify(wake_ups)

    async def listen(
        self, listener: Listener, on_error: BackgroundErrors
    ) -> Callable[[], Awaitable[None]]:
        return await self.inner.listen(listener, on_error)

    async def aclose(self) -> None:
        await self.inner.aclose()
