"""Committed chunks in wake-ups: their seal, and whether this process sends and takes any.

A wake-up is a hint that anybody may send who can reach the notifier. The chunks in it are sealed
with a key that only those know who may write the version: the token of its writer, which a reader
finds in the head that it has read from the store. The token itself never leaves the store.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Final, Literal

from monostream_ai._periodic import sweeping
from monostream_ai.errors import StoreUnavailable
from monostream_ai.interfaces import BackgroundErrors, Notifier
from monostream_ai.types import Append, Lease, WakeUp

Inline = Literal["auto", "always", "never"]
"""When wake-ups carry chunks: while nobody hears them who may not read the store, always, never."""

ASK_EVERY: Final = 60.0
"""Seconds until the notifier is asked again who hears its wake-ups."""

SEAL_SIZE: Final = 32
"""Hexadecimal digits of a seal: 128 bits of HMAC-SHA-256."""

MOST_ROWS: Final = 256
"""Payloads in one wake-up, as many as a reader takes from its window at once."""

_HEAD_BYTES: Final = SEAL_SIZE + 21
_NUMBER_BYTES: Final = 8
"""Bytes of the seal and the first id, and of the length of a payload, at most."""


class Parcel:
    """Consecutive payloads of one version that fit into one wake-up."""

    def __init__(self, lease: Lease, first: int) -> None:
        self.size = _HEAD_BYTES
        """Bytes of UTF-8 of the sealed text, or a few more."""
        self._lease = lease
        self._first = first
        self._payloads: list[str] = []

    def add(self, append: Append, room: int) -> bool:
        """Add the payloads of the next commit; return False if they do not follow, or do not fit.

        The end of a version is never added: a reader sees in the store that it is the end of the
        chunks it has.
        """
        follows = append.first == self._first + len(self._payloads) and append.lease == self._lease
        if not follows or append.closes or not append.payloads:
            return False
        if len(self._payloads) + len(append.payloads) > MOST_ROWS:
            return False
        size = self.size + sum(map(_size, append.payloads)) + _NUMBER_BYTES * len(append.payloads)
        if size > room:
            return False
        self._payloads += append.payloads
        self.size = size
        return True

    def sealed(self) -> str:
        """Return the text for `WakeUp.carried`."""
        lengths = ".".join([str(len(payload)) for payload in self._payloads])
        text = f"{self._first}.{lengths}:{''.join(self._payloads)}"
        return seal(self._lease, text) + text


def seal(lease: Lease, text: str) -> str:
    """Return the seal on a text about a version, as its writer makes it."""
    # No stream id holds NUL, so no two versions share a message.
    message = f"{lease.stream_id}\0{lease.version}\0{text}".encode("utf-8", "surrogatepass")
    return hmac.digest(lease.token.encode(), message, "sha256").hex()[:SEAL_SIZE]


def opened(wake_up: WakeUp, writer: str) -> tuple[int, list[str]] | None:
    """Return the first id and the payloads that a wake-up carries; None unless the holder of this
    token has sealed them.
    """
    found, text = wake_up.carried[:SEAL_SIZE], wake_up.carried[SEAL_SIZE:]
    expected = seal(Lease(wake_up.stream_id, wake_up.version, writer), text)
    # As bytes, since a forged text need not be ASCII.
    if not hmac.compare_digest(found.encode("utf-8", "surrogatepass"), expected.encode()):
        return None
    # Only a writer of ours can have made the rest.
    head, _, joined = text.partition(":")
    first, *lengths = map(int, head.split("."))
    return first, _split(joined, lengths)


def _split(joined: str, lengths: Sequence[int]) -> list[str]:
    payloads, start = [], 0
    for length in lengths:
        payloads.append(joined[start : start + length])
        start += length
    return payloads


def _size(payload: str) -> int:
    return len(payload) if payload.isascii() else len(payload.encode("utf-8", "surrogatepass"))


class Carriage:
    """Decides whether wake-ups carry chunks, as the notifier's answer of the last minute allows.

    Fails closed: until the first answer, and after a question that failed, nothing is carried.
    """

    def __init__(
        self, notifier: Notifier | None, inline: Inline, on_error: BackgroundErrors
    ) -> None:
        self._notifier = notifier
        self._inline = inline
        self._on_error = on_error
        self._confidential = False
        self._stack = AsyncExitStack()

    def room(self) -> int:
        """Return the bytes of UTF-8 that a wake-up may carry now; 0 if no chunk is to be sent so,
        nor believed.
        """
        if self._notifier is None or not (self._inline == "always" or self._confidential):
            return 0
        return self._notifier.most_carried

    async def start(self) -> None:
        """Ask the notifier in the background, now and each minute, if the answer matters."""
        if self._inline == "auto" and self._notifier is not None:
            await self._stack.enter_async_context(
                sweeping(self._ask, every=ASK_EVERY, on_error=self._report, name="inline")
            )

    async def aclose(self) -> None:
        self._confidential = False
        await self._stack.aclose()

    async def _ask(self) -> None:
        confidential = False
        try:
            if self._notifier is not None:
                confidential = await self._notifier.is_confidential()
        finally:
            self._confidential = confidential

    def _report(self, source: str, error: BaseException) -> None:
        # An outage is told by the statements that readers and publishers wait for.
        if not isinstance(error, StoreUnavailable):
            self._on_error(source, error)
