"""Stores files of an answer outside the message, with a function of the application."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeAlias

from monostream_ai.types import check_async, check_count, check_seconds
from monostream_ai.ui_messages.held_files import HeldFile

logger = logging.getLogger(__name__)

StoreFile: TypeAlias = Callable[[bytes, str], Awaitable[str]]
"""Stores a file, given its bytes and its media type, and returns the URL under which a page finds
it.
"""

DEFAULT_OVER: Final = 64 * 1024
DEFAULT_TIMEOUT: Final = 30.0

_URL: Final = re.compile(r"(https?://|/)[^\s\\]+", re.IGNORECASE)


class FileHook:
    """Hands the large files of an answer to a function that stores them.

        capture(stream, pub, files=FileHook(upload, over=0))

    The stored message then holds the URL that the function returned. Chunks behind a file wait
    until it is stored, and so does the end of the answer, so they keep their order. A file that
    cannot be stored becomes a text that says so, and the log tells why.

    Args:
        store: An async function that takes the bytes and the media type of a file, and returns its
            URL: `https:`, `http:`, or a path that begins with `/`. It runs on the event loop of the
            publisher, for several files at once. The media type comes from the model or from a
            tool, so a page must not be made to run such a file: see `DatabaseFiles`.
        over: Characters of base64 text from which on a file is stored. A smaller one stays in the
            message, as a data URL.
        timeout: Seconds for one file.

    Raises:
        TypeError: `store` is not an async function.
        InvalidNumber: `over` is negative, or `timeout` is no duration.
    """

    def __init__(
        self, store: StoreFile, *, over: int = DEFAULT_OVER, timeout: float = DEFAULT_TIMEOUT
    ) -> None:
        check_async("files", store)
        self._store = store
        self.over = check_count("over", over)
        self.timeout = check_seconds("timeout", timeout)

    def __repr__(self) -> str:
        return f"<FileHook over {self.over} characters>"

    def takes(self, file: HeldFile) -> bool:
        return len(file.base64) > self.over

    async def url_of(self, file: HeldFile) -> str | None:
        """Store a file and return its URL, or None if that fails; the log tells why."""
        try:
            # Megabytes of base64 would hold up the event loop.
            content = await asyncio.to_thread(file.content)
            url = await self._store(content, file.media_type)
            if not isinstance(url, str) or not _URL.fullmatch(url):
                raise ValueError(
                    f"the function returned {url!r:.80}: return an https: URL, or a path with '/'"
                )
        except Exception:
            kind, size = file.media_type[:100], file.size
            logger.warning("a file (%s, %d bytes) was not stored", kind, size, exc_info=True)
            return None
        return url


Files: TypeAlias = StoreFile | FileHook


def as_hook(files: Files) -> FileHook:
    """Return a hook for an async function, and a hook as it is.

    Raises:
        TypeError: It is neither.
    """
    return files if isinstance(files, FileHook) else FileHook(files)


def note_files(pub: object, files: Files | None) -> None:
    """Hand the large files of all captures of this publisher to a hook; None changes nothing.

    Raises:
        TypeError: `files` is neither a hook nor an async function.
    """
    if files is None:
        return
    state_of(pub)[FileHook] = as_hook(files)


def hook_of(pub: object) -> FileHook | None:
    hook = state_of(pub).get(FileHook)
    return hook if isinstance(hook, FileHook) else None


def state_of(pub: object) -> MutableMapping[type[Any], Any]:
    """Return the state that captures keep with a publisher; a new one for any other sink."""
    state: MutableMapping[type[Any], Any] = getattr(pub, "_adapter_state", {})
    return state
