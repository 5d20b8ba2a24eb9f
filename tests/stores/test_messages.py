"""Each store keeps the messages of chats, merged in whatever order they come."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from monostream_ai.interfaces import Messages
from monostream_ai.observing import ObservedStore
from monostream_ai.stores.forwarding import ForwardingStore
from monostream_ai.stores.memory import MemoryStore
from monostream_ai.testing import MessagesConformance
from monostream_ai.testing.messages_suite import a_message
from tests.backends import Backend


class TestMessages(MessagesConformance):
    @pytest.fixture
    async def messages(self, backend: Backend, no_task_is_left: None) -> AsyncIterator[Messages]:
        store = backend.new_store()
        await store.setup()
        kept = store.messages
        assert kept is not None
        yield kept
        await store.aclose()


async def test_deleting_and_pruning_streams_keeps_messages(backend: Backend) -> None:
    store = backend.new_store()
    await store.setup()
    kept = store.messages
    assert kept is not None
    await kept.put(a_message())
    await store.delete("chat:ann/c1")
    await store.prune(older_than=0.0, limit=9)
    assert await kept.of_stream("chat:ann/c1") == [a_message()]
    await store.aclose()


class _Silent:
    def observe(self, measure: Any, value: float) -> None: ...

    def watch(self, statistics: Any) -> None: ...


def test_a_store_that_changes_payloads_keeps_no_messages_behind_its_back() -> None:
    memory = MemoryStore()
    assert ForwardingStore(memory).messages is None
    assert ObservedStore(memory, _Silent()).messages is memory.messages
