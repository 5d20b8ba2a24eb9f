"""The suites show which guarantee each case covers, and the parts that fail show their state."""

from __future__ import annotations

import re

from monostream_ai.notifiers.memory import MemoryNotifier
from monostream_ai.stores.memory import MemoryStore
from monostream_ai.testing import (
    RecordingListener,
    StoreConformance,
    UnheardNotifier,
    UnreliableStore,
    store_suite,
)


def test_the_table_of_guarantees_names_every_group_of_cases() -> None:
    groups = {each.__name__ for each in StoreConformance.__bases__}
    assert groups == set(re.findall(r"\w+Cases", store_suite.__doc__ or ""))


async def test_failing_parts_show_their_state() -> None:
    store, notifier = UnreliableStore(MemoryStore()), UnheardNotifier(MemoryNotifier())
    assert repr(store).startswith("<UnreliableStore running, over ")
    store.pause()
    assert repr(store).startswith("<UnreliableStore paused, over ")
    store.kill()
    assert repr(store).startswith("<UnreliableStore dead, over ")
    assert repr(notifier).startswith("<UnheardNotifier forwarding, over ")
    notifier.loses = True
    assert repr(notifier).startswith("<UnheardNotifier losing, over ")
    listener = RecordingListener(notifier)
    listener.on_resync()
    assert repr(listener) == "<RecordingListener 0 wake-ups, 1 resyncs, 0 errors>"
