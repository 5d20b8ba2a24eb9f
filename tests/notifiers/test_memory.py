from __future__ import annotations

import asyncio
import threading

from monostream_ai.notifiers.memory import MemoryNotifier
from monostream_ai.testing import RecordingListener
from monostream_ai.types import WakeUp


async def test_a_listener_with_a_closed_loop_does_not_fail_the_others() -> None:
    notifier = MemoryNotifier()
    thread = threading.Thread(target=lambda: asyncio.run(_start(notifier)))
    thread.start()
    await asyncio.to_thread(thread.join)
    listener = await RecordingListener(notifier).start()
    await notifier.notify([WakeUp("s", 0, 0)])
    await listener.until(lambda: listener.wake_ups == [WakeUp("s", 0, 0)])
    await listener.stop()


async def _start(notifier: MemoryNotifier) -> None:
    await RecordingListener(notifier).start()
