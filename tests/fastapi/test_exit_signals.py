from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from types import FrameType

import pytest

from monostream_ai.chats.exit_signals import exit_noticed, process_exiting


class Server:
    """A SIGTERM handler like that of uvicorn."""

    def __init__(self) -> None:
        self.should_exit = False

    def handle_exit(self, number: int, frame: FrameType | None) -> None:
        self.should_exit = True


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    before = signal.signal(signal.SIGTERM, server.handle_exit)
    yield server
    signal.signal(signal.SIGTERM, before)


async def test_a_signal_is_noticed_and_reaches_the_server(server: Server) -> None:
    noticed = asyncio.Event()
    with exit_noticed(noticed.set):
        assert not process_exiting()
        signal.raise_signal(signal.SIGTERM)
        assert process_exiting() and server.should_exit
        await noticed.wait()
    assert signal.getsignal(signal.SIGTERM) == server.handle_exit


async def test_a_signal_that_the_event_loop_handles_is_noticed(server: Server) -> None:
    noticed, handled = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, handled.set)
    try:
        with exit_noticed(noticed.set):
            signal.raise_signal(signal.SIGTERM)
            await asyncio.gather(noticed.wait(), handled.wait())
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


async def test_several_routers_all_notice_an_exit(server: Server) -> None:
    first, second = asyncio.Event(), asyncio.Event()
    with exit_noticed(first.set), exit_noticed(second.set):
        signal.raise_signal(signal.SIGTERM)
        await asyncio.gather(first.wait(), second.wait())


async def test_a_server_that_exits_without_a_signal_is_seen_through_the_notice(
    server: Server,
) -> None:
    with exit_noticed(lambda: None):
        server.should_exit = True
        assert process_exiting()


async def test_a_handler_set_meanwhile_is_kept(server: Server) -> None:
    other: Callable[[int, FrameType | None], None] = Server().handle_exit
    with exit_noticed(lambda: None):
        signal.signal(signal.SIGTERM, other)
    assert signal.getsignal(signal.SIGTERM) == other


async def test_a_signal_that_nobody_handles_is_left_alone() -> None:
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    with exit_noticed(lambda: None):
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


async def test_another_thread_notices_nothing(server: Server) -> None:
    async def serve() -> None:
        with exit_noticed(lambda: None):
            assert signal.getsignal(signal.SIGTERM) == server.handle_exit

    await asyncio.to_thread(asyncio.run, serve())
