"""Reads the events of a stream in any form, and closes the stream at the end.

The SDK returns streams and stream managers, async or sync; any other iterable will do as well.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Coroutine,
    Iterable,
    Mapping,
)
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar

from monostream_ai._writing.cancelling import finish_despite_cancel

E = TypeVar("E")

Stream: TypeAlias = (
    AsyncIterable[E]
    | Iterable[E]
    | AbstractAsyncContextManager[AsyncIterable[E]]
    | AbstractContextManager[Iterable[E]]
)

_END: Final[Any] = object()


def check_stream(stream: object) -> None:
    """Check that this may be a stream.

    Raises:
        TypeError: It is the response of a call without `stream=True`, a call that was not awaited,
            or an object that cannot be iterated.
    """
    if inspect.isawaitable(stream):
        raise TypeError("capture needs the stream: await the call first")
    if hasattr(stream, "model_dump") or isinstance(stream, str | bytes | Mapping):
        raise TypeError(
            f"{type(stream).__name__} is no stream of events: call the API with stream=True"
        )
    if not any(
        hasattr(stream, name) for name in ("__aiter__", "__iter__", "__aenter__", "__enter__")
    ):
        raise TypeError(f"{type(stream).__name__} is no stream of events")


async def events_of(stream: Stream[E]) -> AsyncGenerator[E, None]:
    """Yield the events, and close the stream however the reading ends.

    Sync streams are read in threads.
    """
    opened, close = await _opened(stream)
    try:
        if isinstance(opened, AsyncIterable):
            # A stream of the SDK is its own iterator. `aiter` would wrap it in a generator that
            # nobody closes.
            events = opened if isinstance(opened, AsyncIterator) else aiter(opened)
            while (event := await anext(events, _END)) is not _END:
                yield event
        else:
            iterator = iter(opened)
            while (event := await asyncio.to_thread(next, iterator, _END)) is not _END:
                yield event
    finally:
        cancellation = await finish_despite_cancel(close())
        if cancellation is not None:
            raise cancellation


async def _opened(stream: Any) -> tuple[Any, Callable[[], Coroutine[Any, Any, None]]]:
    """Return the iterable, and a function that closes it and leaves its manager."""
    if isinstance(stream, AsyncIterable | Iterable):
        return stream, partial(close_stream, stream)
    if isinstance(stream, AbstractAsyncContextManager):
        opened = await stream.__aenter__()
    else:
        opened = await asyncio.to_thread(stream.__enter__)

    async def close() -> None:
        await close_stream(opened)
        if isinstance(stream, AbstractAsyncContextManager):
            await stream.__aexit__(None, None, None)
        else:
            await asyncio.to_thread(stream.__exit__, None, None, None)

    return opened, close


async def close_stream(opened: Any) -> None:
    """Close a stream, whether or not it was read; does nothing for an object without a `close`."""
    close = getattr(opened, "aclose", None) or getattr(opened, "close", None)
    if close is None:
        return
    try:
        closing = close()
        if inspect.isawaitable(closing):
            await closing
    except ValueError:
        # A generator that a thread is still waiting in cannot be closed from here. It ends when its
        # last reference goes.
        return
