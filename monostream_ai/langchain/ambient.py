"""Recording without passing callbacks around."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.tracers.context import register_configure_hook

H = TypeVar("H", bound=BaseCallbackHandler)

# LangChain asks this variable for a handler whenever it configures a run.
_AMBIENT: ContextVar[BaseCallbackHandler | None] = ContextVar("monostream_ai_handler", default=None)
register_configure_hook(_AMBIENT, inheritable=True)


@contextmanager
def attached(handler: H) -> Iterator[H]:
    """Attach a handler to every run that begins in this block, also in tasks and
    `asyncio.to_thread` calls that it starts.

    An inner block replaces the handler of an outer one. A handler that is among a run's callbacks
    as well records once.
    """
    token = _AMBIENT.set(handler)
    try:
        yield handler
    finally:
        _AMBIENT.reset(token)
