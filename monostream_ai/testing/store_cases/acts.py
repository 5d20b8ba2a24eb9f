"""Verbs and values that the cases share."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from typing import Final

from monostream_ai.errors import MonostreamError, StoreUnavailable
from monostream_ai.interfaces import Store
from monostream_ai.types import (
    MAX_STREAM_ID_BYTES,
    Append,
    Lease,
    Opening,
    Page,
    Position,
    State,
    VersionInfo,
)

LONG: Final = 60.0
"""Seconds of a lease that cannot lapse during a test."""

SHORT: Final = 0.3
"""Seconds of a lease whose end a test waits for."""

MIB: Final = 1024 * 1024

_INCOMPRESSIBLE = "".join(hashlib.sha256(bytes([number])).hexdigest() for number in range(32))

STREAM_IDS: Final = {
    "plain": "chat:123",
    "one byte": "x",
    "2048 bytes": _INCOMPRESSIBLE,
    "2048 bytes of two-byte letters": "é" * (MAX_STREAM_ID_BYTES // 2),
    "quotes": """it's "quoted" `x` \\' '; DROP TABLE stream_chunk; --""",
    "percent": "100%s %(id)s %% %1$s",
    "colons": ":stream ::text :1 $1 ?",
    "slashes": "../a/b//c\\d?e=f#g",
    "braces": "{0} {x} ${y} [z]",
    "emoji": "👩\u200d👩\u200d👧 \U0001f525",
    "newline": "line\nline\r\ttab\x01\x1b\x7f",
    "spaces": "  padded  ",
    "right to left": "\u202eabc\u2066",
}
"""Stream ids that a careless store would mix up or refuse, by test id.

The longest one cannot be compressed, since an index may limit the size of its keys.
"""


class StoreActs:
    """Base class of all cases."""

    async def pass_time(self, seconds: float) -> None:
        """Let seconds pass on the store's clock, by waiting.

        Override this if the test controls the clock, and the suite will not wait.
        """
        await asyncio.sleep(seconds)

    async def lapse(self, store: Store, lease: Lease) -> None:
        """Wait until the store reports that a short lease has lapsed."""
        await self.pass_time(SHORT)
        async with asyncio.timeout(10):
            while (await self.info(store, lease)).lease_left > 0:
                await self.pass_time(0.02)

    async def acquire(
        self, store: Store, stream_id: str, version: int | None = None, *, lease: float = LONG
    ) -> Lease:
        token = new_token()
        return Lease(
            stream_id, await store.acquire(stream_id, version, Opening(token, lease)), token
        )

    async def append(
        self,
        store: Store,
        lease: Lease,
        first: int,
        *payloads: str,
        closes: bool = False,
        seconds: float = LONG,
    ) -> MonostreamError | None:
        """Append to one version, and repeat that while the outcome is unknown."""
        async with asyncio.timeout(10):
            while True:
                verdict: MonostreamError | None
                try:
                    [verdict] = await store.append(
                        [Append(lease, first, payloads, closes)], lease=seconds
                    )
                except StoreUnavailable as error:
                    verdict = error
                if not isinstance(verdict, StoreUnavailable):
                    return verdict
                await asyncio.sleep(0.01)

    async def write(
        self, store: Store, lease: Lease, first: int, *payloads: str, closes: bool = False
    ) -> None:
        """Append, and fail unless the append landed."""
        assert await self.append(store, lease, first, *payloads, closes=closes) is None

    async def page(
        self,
        store: Store,
        stream_id: str,
        version: int | None = None,
        next_id: int = 0,
        *,
        rows: int = 1000,
        size: int = 8 * MIB,
    ) -> Page:
        [page] = await store.read(
            [Position(stream_id, version, next_id)], max_rows=rows, max_bytes=size
        )
        return page

    def position_of(self, page: Page) -> tuple[int, State, int] | None:
        """Return the version, state and next id in the head of a page."""
        return (
            None if page.head is None else (page.head.version, page.head.state, page.head.next_id)
        )

    async def stored(self, store: Store, stream_id: str) -> list[str]:
        """Return the payloads of the latest version."""
        return list((await self.page(store, stream_id)).payloads)

    async def info(self, store: Store, lease: Lease) -> VersionInfo:
        info = await store.info(lease.stream_id, lease.version)
        assert info is not None
        return info

    async def closed_version(self, store: Store, stream_id: str, *payloads: str) -> Lease:
        lease = await self.acquire(store, stream_id)
        await self.write(store, lease, 0, *(payloads or ("0",)), closes=True)
        return lease

    async def taken(
        self,
        store: Store,
        lease: Lease,
        *,
        stop: bool = False,
        seconds: float = LONG,
        attempt: int | None = None,
        waits: bool = False,
    ) -> Lease:
        """Claim a version, and fail unless the claim succeeded."""
        taker = lease._replace(token=new_token())
        claimed = await store.claim(taker, lease=seconds, stop=stop, attempt=attempt, waits=waits)
        assert claimed is not None
        return taker


def new_token() -> str:
    return secrets.token_hex(16)


def numbered(count: int, start: int = 0) -> list[str]:
    """Return payloads that contain their own ids."""
    return [f'{{"n":{number}}}' for number in range(start, start + count)]
