"""This package, as its README uses it."""

from __future__ import annotations

from collections.abc import AsyncIterator

from benchmarks.pacing import Chunk, Load
from monostream_ai import DurableStreamService, Publisher, create_service
from monostream_ai.stores.sql import PostgresStore
from monostream_ai.ui_messages import UIMessageProtocol


class OursWriter:
    def __init__(self, pub: Publisher[Chunk]) -> None:
        self.write = pub.write
        self.push = pub.push
        self.end = pub.close


class Ours:
    """Without notifications, readers in other processes only poll."""

    def __init__(self, load: Load, *, notifies: bool) -> None:
        if notifies:
            self._service = create_service(load.url, lease=load.lease)
        else:
            store = PostgresStore.from_url(load.url)
            self._service = DurableStreamService(store, None, UIMessageProtocol())

    async def open(self, id: str) -> OursWriter:
        return OursWriter(await self._service.publisher(id).open())

    def join(self, id: str) -> AsyncIterator[Chunk]:
        return self._service.subscribe(id)
