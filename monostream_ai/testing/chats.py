"""Runs a chat application in a test, in any number of processes on one memory, any of which may
crash.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, Self, TypeAlias, TypeVar
from urllib.parse import quote
from weakref import WeakKeyDictionary, WeakSet

from monostream_ai.interfaces import Messages
from monostream_ai.json_text import encode_json
from monostream_ai.notifiers.memory import MemoryNotifier
from monostream_ai.service import DurableStreamService
from monostream_ai.stores.memory import MemoryStore
from monostream_ai.testing.asgi import ASGIApp, Response, lifespan, send
from monostream_ai.testing.unreliable import UnreliableStore
from monostream_ai.types import Lease, Opening, WakeUp
from monostream_ai.ui_messages import Chunk, MessageReducer, UIMessage, UIMessageProtocol

T = TypeVar("T")

Service: TypeAlias = DurableStreamService[Chunk]
MakeApp: TypeAlias = Callable[[Service], ASGIApp]

READ_TIMEOUT: Final = 10.0
"""Seconds for which a test waits at most for the next chunk of an answer."""

_Page: TypeAlias = tuple[str, frozenset[tuple[str, str]]]
"""A chat, and the headers that say whose it is."""

_LOGGERS: Final = "monostream_ai."

CRASH_TIMEOUT: Final = 5.0
"""Seconds that the tasks of a crashed process get to end, and its application to clean up."""


class Answer:
    """An answer as a page shows it, while it arrives.

    Args:
        continued: The message that the page has sent back, and to which the chunks are added.
    """

    def __init__(self, response: Response, continued: UIMessage | None = None) -> None:
        self.response = response
        self.chunks: list[Chunk] = []
        """The chunks read so far."""
        self._reducer = MessageReducer(continued)
        self._rest = b""

    def __repr__(self) -> str:
        return f"<Answer {len(self.chunks)} chunks, {self.text!r:.60}>"

    @property
    def message(self) -> UIMessage:
        """The message so far."""
        return self._reducer.message

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(part["text"] for part in self.message["parts"] if part["type"] == "text")

    @property
    def ending(self) -> str | None:
        """`finish`, `error` or `abort`; None while the answer goes on."""
        kinds = {chunk["type"] for chunk in self.chunks}
        # The router may send a `finish` behind the others, for clients that wait for one.
        return next((kind for kind in ("error", "abort", "finish") if kind in kinds), None)

    async def until(self, text: str) -> None:
        """Read until the text so far contains this one.

        Raises:
            AssertionError: The answer ended without it, or nothing came for 10 seconds.
            ConnectionResetError: The response broke off.
        """
        while text not in self.text:
            if not await self._read():
                raise AssertionError(f"the answer ended without {text!r}: {self.text!r}")

    async def rest(self) -> UIMessage:
        """Read to the end and return the message as it is stored.

        Raises:
            AssertionError: Nothing came for 10 seconds.
            ConnectionResetError: The response broke off.
        """
        while await self._read():
            pass
        self._reducer.settle()
        return self.message

    async def leave(self) -> None:
        """Close the connection, as a reloaded page does. The answer goes on."""
        await self.response.leave()

    async def _read(self) -> bool:
        """Read the next piece of the response; return False at its end."""
        try:
            async with asyncio.timeout(READ_TIMEOUT):
                piece = await self.response.read()
        except TimeoutError as error:
            raise AssertionError(
                f"nothing came for {READ_TIMEOUT:g} s after {self.text!r}"
            ) from error
        if piece is None:
            return False
        *events, self._rest = (self._rest + piece).split(b"\n\n")
        for line in b"\n".join(events).splitlines():
            if line.startswith(b"data: ") and line != b"data: [DONE]":
                self.chunks.append(json.loads(line.removeprefix(b"data: ")))
                self._reducer.feed(self.chunks[-1])
        return True


class ChatProcess:
    """One process of an application; `ChatProcesses.start` returns it."""

    def __init__(
        self, app: ASGIApp, store: _ProcessStore, service: Service, chats: ChatProcesses
    ) -> None:
        self.app = app
        self.service: Final = service
        self._store = store
        self._chats = chats
        self._tasks = chats.tasks
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._told_to_exit = asyncio.Event()
        self._main = self._tasks.start(self, self._serve(), spared=True)

    def __repr__(self) -> str:
        return f"<ChatProcess {'ended' if self._main.done() else 'running'}, {self.service!r}>"

    async def ask(
        self,
        message: str | UIMessage,
        *,
        chat_id: str = "chat-1",
        headers: Mapping[str, str] | None = None,
        **body: Any,
    ) -> Answer:
        """Ask a question, or send back a message to continue, and return the answer.

        Args:
            message: A text, or a message with an id of its own.
            body: More keys of the JSON body, such as a `model` that your reply reads.

        Raises:
            AssertionError: The question was refused.
            ValueError: It regenerates an answer, and a text would be a new question.
        """
        if isinstance(message, str):
            if body.get("trigger") == "regenerate-message":
                raise ValueError("a text is a new question: regenerate() asks the last one again")
            parts = [{"type": "text", "text": message}]
            message = {"id": self._chats.next_id(), "role": "user", "parts": parts}
        asked = {"id": chat_id, "messages": [message], "trigger": "submit-message", **body}
        response = await _accepted(await self.request("POST", "", json=asked, headers=headers))
        if message["role"] == "assistant":
            return Answer(response, message)
        self._chats.questions[_page(chat_id, headers)] = message
        return Answer(response)

    async def regenerate(
        self, chat_id: str = "chat-1", *, headers: Mapping[str, str] | None = None, **body: Any
    ) -> Answer:
        """Ask the last question of a chat again, as `regenerate()` of a page does, and return the
        answer that replaces the last one.

        Args:
            headers: Those of the question, since another user may have a chat with the same id.
            body: As for `ask`.

        Raises:
            AssertionError: Nothing was asked there, or the question was refused.
        """
        question = self._chats.questions.get(_page(chat_id, headers))
        if question is None:
            raise AssertionError(f"nothing was asked in {chat_id!r} with the same headers")
        return await self.ask(
            question, chat_id=chat_id, headers=headers, **{"trigger": "regenerate-message", **body}
        )

    async def resume(
        self, chat_id: str = "chat-1", *, headers: Mapping[str, str] | None = None
    ) -> Answer | None:
        """Come back to the answer of a chat, as a reloaded page does; None if none is running or
        has just ended.

        Raises:
            AssertionError: The request was refused.
        """
        response = await self.request("GET", f"/{quote(chat_id, safe='')}/stream", headers=headers)
        return None if response.status == 204 else Answer(await _accepted(response))

    async def stop(
        self, chat_id: str = "chat-1", *, headers: Mapping[str, str] | None = None
    ) -> None:
        """Stop the running answer of a chat.

        Raises:
            AssertionError: The request was refused.
        """
        url = f"/{quote(chat_id, safe='')}/stop"
        await _accepted(await self.request("POST", url, headers=headers))

    async def request(
        self,
        method: str,
        url: str,
        *,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        path: str | None = None,
    ) -> Response:
        """Send any request, and return its response once that has begun.

        Args:
            url: Behind `path`, which is that of the chat router by default; `path=""` is for other
                routes of the application.

        Raises:
            ConnectionRefusedError: The process has crashed or ended.
            Exception: As the application raised it, even if a middleware has answered with 500.
        """
        if self._told_to_exit.is_set() or self._store.dead:
            raise ConnectionRefusedError("this process has ended: ask another one")
        given = {"content-type": "application/json", **self._chats.headers, **(headers or {})}
        return await send(
            self.app,
            method,
            (self._chats.path if path is None else path) + url,
            headers=given,
            body=b"" if json is None else encode_json(json).encode(),
            start=lambda work: self._tasks.start(self, work),
        )

    async def shut_down(self) -> None:
        """End this process as a server does when it is told to exit: running answers get the
        `drain_timeout` of the router.

        Raises:
            RuntimeError: The application could not shut down.
        """
        self.service.begin_shutdown()
        self._told_to_exit.set()
        await self._main

    async def crash(self) -> None:
        """Kill this process: its connections break, its tasks are cancelled, and nothing that they
        still try to store lands. Its versions are lost at once. It logs nothing more.

        The shutdown of the lifespan runs when `ChatProcesses` ends, so that a test leaves nothing
        open.
        """
        self._chats.silence.cover_loggers()
        self._store.kill()
        # Before its tasks are cancelled: those of the service end by themselves, in their order.
        await self._tasks.start(self, self.service.aclose(), spared=True)
        await self._tasks.kill(self)
        wake_ups = await self._store.let_lapse()
        await self._chats.notifier.notify(wake_ups)

    @property
    def dead(self) -> bool:
        """Whether this process has crashed."""
        return self._store.dead

    async def clean_up(self) -> None:
        """Crash, and run the shutdown of the lifespan; its errors are those of a dead process."""
        await self.crash()
        self._told_to_exit.set()
        await asyncio.wait([self._main], timeout=CRASH_TIMEOUT)
        self._main.cancel()
        await asyncio.gather(self._main, return_exceptions=True)

    async def _serve(self) -> None:
        def spared(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
            return self._tasks.start(self, work, spared=True)

        try:
            async with self.service, lifespan(self.app, start=spared):
                self._ready.set_result(None)
                await self._told_to_exit.wait()
        except Exception as error:
            if self._ready.done():
                raise
            self._ready.set_exception(error)

    async def _started(self) -> ChatProcess:
        await self._ready
        return self


class ChatProcesses:
    """Runs a chat application in this event loop, in any number of processes on one memory.

        async with ChatProcesses(create_app) as processes:
            server = await processes.start()
            answer = await server.ask("Hi!")
            await answer.until("Hello")

    Processes that still run crash when the block is left, so none waits for an answer that a gate
    holds.

    Args:
        make_app: Returns the application, with a chat router of the service that it is given. The
            lifespan of the application runs as in a server.
        path: Of the chat router.
        headers: Sent with each request, such as those of a login.
    """

    def __init__(
        self,
        make_app: MakeApp,
        *,
        path: str = "/api/chat",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.path = path
        self.headers = dict(headers or {})
        self.notifier = MemoryNotifier()
        self.tasks = ProcessTasks()
        self.silence = _Silence(self.tasks)
        # The last question of each page, which outlives the process that it asked.
        self.questions: dict[_Page, UIMessage] = {}
        self._make_app = make_app
        self._memory = MemoryStore()
        self._processes: list[ChatProcess] = []
        self._asked = 0

    def __repr__(self) -> str:
        return f"<ChatProcesses {self._processes!r}>"

    async def start(self) -> ChatProcess:
        """Start one more process.

        Raises:
            Exception: As the lifespan of the application raised it.
        """
        store = _ProcessStore(self._memory)
        service = Service(store, self.notifier, UIMessageProtocol())
        process = ChatProcess(self._make_app(service), store, service, self)
        self._processes.append(process)
        return await process._started()

    def next_id(self) -> str:
        """Return the id of a new question."""
        self._asked += 1
        return f"question-{self._asked}"

    async def __aenter__(self) -> Self:
        self.tasks.watch()
        return self

    async def __aexit__(self, *raised: object) -> None:
        # The last one first: each has put its signal handlers in front of those before.
        try:
            for process in reversed(self._processes):
                await process.clean_up()
        finally:
            self.silence.end()
            self.tasks.leave()


class ProcessTasks:
    """Knows the process of each task, which is that of the task that started it."""

    def __init__(self) -> None:
        self._owners: WeakKeyDictionary[asyncio.Future[Any], object] = WeakKeyDictionary()
        self._spared: WeakSet[asyncio.Future[Any]] = WeakSet()
        self._factory: Any = None

    def watch(self) -> None:
        loop = asyncio.get_running_loop()
        self._factory = loop.get_task_factory()
        make: Any = self._make
        loop.set_task_factory(make)

    def leave(self) -> None:
        asyncio.get_running_loop().set_task_factory(self._factory)

    def current_owner(self) -> object:
        """Return the process of the running task; None if it belongs to none."""
        try:
            task = asyncio.current_task()
        except RuntimeError:
            # In a thread without an event loop.
            return None
        return None if task is None else self._owners.get(task)

    def start(
        self, owner: object, work: Coroutine[Any, Any, T], *, spared: bool = False
    ) -> asyncio.Task[T]:
        """Start the first task of a process, or one for a request to it.

        Args:
            spared: `kill` leaves it alone.
        """
        task = asyncio.get_running_loop().create_task(work)
        self._owners[task] = owner
        if spared:
            self._spared.add(task)
        return task

    async def kill(self, owner: object) -> None:
        """Cancel all tasks of a process until none is left.

        Raises:
            AssertionError: Some go on although they were cancelled.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + CRASH_TIMEOUT
        while left := [
            task
            for task in asyncio.all_tasks() - set(self._spared)
            if self._owners.get(task) is owner
        ]:
            if loop.time() > deadline:
                raise AssertionError(f"tasks go on although they were cancelled: {left}")
            for task in left:
                task.cancel()
            # A task may start others while it ends, such as one that closes the service.
            await asyncio.wait(left, timeout=0.1)

    def _make(
        self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], **options: Any
    ) -> asyncio.Future[Any]:
        task: asyncio.Future[Any] = (
            asyncio.Task(work, loop=loop, **options)
            if self._factory is None
            else self._factory(loop, work, **options)
        )
        parent = asyncio.current_task(loop)
        if parent is not None and (owner := self._owners.get(parent)) is not None:
            self._owners[task] = owner
        return task


class _Silence(logging.Filter):
    """Drops the log records of this package that come from tasks of a crashed process: they end
    with errors, which say nothing about the application.
    """

    def __init__(self, tasks: ProcessTasks) -> None:
        super().__init__()
        self._tasks = tasks
        self._covered: list[logging.Logger] = []

    def filter(self, record: logging.LogRecord) -> bool:
        owner = self._tasks.current_owner()
        return not (isinstance(owner, ChatProcess) and owner.dead)

    def cover_loggers(self) -> None:
        """Look at the records of all loggers of this package that exist by now."""
        # The filters of a logger see no record of the loggers below it.
        names = [name for name in logging.root.manager.loggerDict if name.startswith(_LOGGERS)]
        self.end()
        self._covered = [logging.getLogger(name) for name in names]
        for logger in self._covered:
            logger.addFilter(self)

    def end(self) -> None:
        for logger in self._covered:
            logger.removeFilter(self)
        self._covered = []


class _ProcessStore(UnreliableStore):
    """Knows the leases of its process, so that they can lapse when it has died."""

    def __init__(self, inner: MemoryStore) -> None:
        super().__init__(inner)
        self._leases: list[Lease] = []

    @property
    def messages(self) -> Messages | None:
        return self.inner.messages

    async def acquire(self, stream_id: str, version: int | None, opening: Opening) -> int:
        number = await super().acquire(stream_id, version, opening)
        self._leases.append(Lease(stream_id, number, opening.token))
        return number

    async def claim(
        self,
        taker: Lease,
        *,
        lease: float,
        stop: bool,
        attempt: int | None = None,
        waits: bool = False,
    ) -> int | None:
        next_id = await super().claim(taker, lease=lease, stop=stop, attempt=attempt, waits=waits)
        # One that waits outlives the process that has left it.
        self._leases = [held for held in self._leases if held != taker]
        if next_id is not None and not waits:
            self._leases.append(taker)
        return next_id

    async def let_lapse(self) -> list[WakeUp]:
        """Let the leases lapse; return the wake-ups for their readers."""
        wake_ups = []
        for lease in self._leases:
            await self.inner.release(lease)
            info = await self.inner.info(lease.stream_id, lease.version)
            if info is not None and info.state == "open":
                wake_ups.append(WakeUp(lease.stream_id, lease.version, info.next_id))
        return wake_ups


def _page(chat_id: str, headers: Mapping[str, str] | None) -> _Page:
    return chat_id, frozenset((headers or {}).items())


async def _accepted(response: Response) -> Response:
    if response.status != 200:
        raise AssertionError(f"refused with {response.status}: {await response.text()}")
    return response
