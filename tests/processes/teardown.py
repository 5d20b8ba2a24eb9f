"""A program that ends its event loop in the middle of something, or forks; run as a process, for it
may hang.

    python -m tests.processes.teardown release | abort | terminal | fork

It says how that went by lines on its standard output.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Literal

from monostream_ai import DurableStreamService, MonostreamError
from monostream_ai.stores.memory import MemoryStore
from tests.chunks import FINISH, PROTOCOL, Chunk, text
from tests.hooked_store import Gate, HookedStore


async def answer(
    service: DurableStreamService[Chunk],
    store: HookedStore,
    chunk: Chunk,
    on_cancel: Literal["abort", "release"],
) -> None:
    async with service.publisher("s", on_cancel=on_cancel) as pub:
        await pub.write(text(0))
        store.before["append"] = gate = Gate()
        asyncio.get_running_loop().call_later(0.3, gate.open)
        pub.push(chunk)
        await asyncio.Event().wait()


async def leave_while_an_append_is_in_flight(store: HookedStore, how: str) -> None:
    service: DurableStreamService[Chunk] = DurableStreamService(store, None, PROTOCOL)
    answering = asyncio.create_task(
        answer(
            service,
            store,
            FINISH if how == "terminal" else text(1),
            "release" if how == "release" else "abort",
        )
    )
    while "append" not in store.before:
        await asyncio.wait([answering], timeout=0.01)
    # Returning now lets asyncio.run cancel the publisher, and the writer under it.


async def fork_and_close_in_the_child() -> None:
    service: DurableStreamService[Chunk] = DurableStreamService(MemoryStore(), None, PROTOCOL)
    async with service.publisher("s") as pub:
        await pub.write(text(0))
        child = os.fork()
        if child == 0:
            # The child must not run tasks of the parent's loop.
            asyncio._set_running_loop(None)
            try:
                asyncio.run(asyncio.wait_for(service.aclose(), 5))
            except (MonostreamError, TimeoutError) as error:
                print("child", type(error).__name__, flush=True)
            os._exit(0)
        await asyncio.to_thread(os.waitpid, child, 0)
        await pub.write(text(1))
    print("parent", len(await service.chunks("s")), flush=True)


def main(how: str) -> None:
    if how == "fork":
        asyncio.run(fork_and_close_in_the_child())
        return
    store = HookedStore(MemoryStore())
    asyncio.run(leave_while_an_append_is_in_flight(store, how))
    print(*(asyncio.run(store.payloads("s", 0, 0, max_rows=10, max_bytes=1000))), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
