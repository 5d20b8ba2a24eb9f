"""Turns: answers that run in tasks of their own, which no HTTP response owns."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

from monostream_ai.errors import Fenced, StreamStopped
from monostream_ai.fastapi.requests import Body, ChatRequest, RequestRefused
from monostream_ai.fastapi.silence import silence_limit
from monostream_ai.publisher import Publisher
from monostream_ai.service import DurableStreamService
from monostream_ai.types import VersionInfo
from monostream_ai.ui_messages import Chunk, UIMessage

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

    from monostream_ai.langchain import StreamCallbackHandler

logger = logging.getLogger(__name__)

RELEASE_TIMEOUT: Final = 5.0
"""Seconds for a cancelled reply to give its version up."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """One version to write, and what it is to answer."""

    stream_id: str
    version: int
    request: ChatRequest
    owner: str | None
    attempt: int = 1
    # Fixed before the model is called: every replay, retry and the history know the message by this id.
    message_id: str = field(default_factory=lambda: f"msg_{secrets.token_hex(12)}")

    @classmethod
    def first(cls, stream_id: str, version: int, request: ChatRequest, owner: str | None) -> Self:
        assignment = cls(stream_id, version, request, owner)
        continued = request.continued_message_id
        return assignment if continued is None else replace(assignment, message_id=continued)

    @classmethod
    def again(cls, lost: VersionInfo) -> Self | None:
        """Return the same work as the next version, or None if a router of ours did not start the lost one."""
        request = ChatRequest.stored_with(lost)
        if request is None or lost.message_id is None:
            return None
        return cls(lost.stream_id, lost.version + 1, request, lost.owner, lost.attempt + 1, lost.message_id)


class ChatTurn:
    """One answer of a chat, which is one version of the chat's stream: what a reply reads, and where it writes."""

    def __init__(self, assignment: Assignment, pub: Publisher[Chunk]) -> None:
        self._assignment = assignment
        self.pub = pub
        """Takes chunks. Its version is open and begins with `start`; it is ended when the reply returns or raises."""

    @property
    def chat_id(self) -> str:
        return self._assignment.request.chat_id

    @property
    def stream_id(self) -> str:
        return self._assignment.stream_id

    @property
    def version(self) -> int:
        return self._assignment.version

    @property
    def message_id(self) -> str:
        """The id of the assistant message that this turn writes; on a continuation, of the one it goes on with."""
        return self._assignment.message_id

    @property
    def owner(self) -> str | None:
        """What the router's `authorize` returned."""
        return self._assignment.owner

    @property
    def attempt(self) -> int:
        """1 for the first run; more when a lost turn is run again."""
        return self._assignment.attempt

    @property
    def messages(self) -> list[UIMessage]:
        """What the client sent: the whole conversation, or its last message, as its transport does it. It may be forged."""
        return self._assignment.request.messages

    @property
    def trigger(self) -> str:
        """`submit-message` or `regenerate-message`."""
        return self._assignment.request.trigger

    @property
    def body(self) -> Body:
        """The whole JSON body of the request, with whatever the client added. It is stored with the version."""
        return self._assignment.request.body

    @cached_property
    def callback(self) -> StreamCallbackHandler:
        """A LangChain callback that writes what a chain, agent or graph does to `pub`.

        On a continuation it gives the calls of the message that the turn goes on with their results.
        """
        # Imported here, so that an application without LangChain does not load it.
        from monostream_ai.langchain import StreamCallbackHandler

        continues = self._assignment.request.continued_message_id == self.message_id
        return StreamCallbackHandler(self.pub, send_start=False, continued=self.messages[-1] if continues else None)

    def langchain_messages(self) -> list[BaseMessage]:
        """Return `messages` as LangChain messages. System messages are left out: a client could forge them."""
        from monostream_ai.langchain import to_langchain_messages

        return to_langchain_messages(self.messages)

    def resume_value(self) -> dict[str, Any] | None:
        """Return what `Command(resume=…)` needs to go on with what the user approved or rejected; None if there is no answer.

        As `monostream_ai.langchain.resume_value`. That this user may decide is for you to check.
        """
        from monostream_ai.langchain import resume_value

        return resume_value(self.messages)


Reply: TypeAlias = Callable[[ChatTurn], Awaitable[object]]


class TurnRunner:
    """Runs replies, each in a task that this object keeps and awaits.

    Args:
        max_silence: Seconds without a chunk after which a reply is ended with an error; None sets no limit.
        drain_timeout: Seconds that running replies get when the process ends. Then they are cancelled and their leases released,
            so that another process may take over at once.
    """

    def __init__(
        self, service: DurableStreamService[Any], reply: Reply, *, max_silence: float | None, drain_timeout: float
    ) -> None:
        self._service = service
        self._reply = reply
        self._max_silence = max_silence
        self._drain_timeout = drain_timeout
        # The loop itself holds tasks weakly.
        self._tasks: set[asyncio.Task[None]] = set()
        self._draining = False

    @property
    def draining(self) -> bool:
        """Whether no turn may start here any more."""
        return self._draining or self._service.closing

    async def start(self, assignment: Assignment) -> None:
        """Acquire the version, store its `start`, and let the reply run; returns before the reply begins.

        A caller that is cancelled does not stop the turn.

        Raises:
            VersionConflict: Somebody else has this version or a newer one.
            StoreUnavailable: The version could not be acquired.
            RequestRefused: The process is shutting down.
        """
        if self.draining:
            raise RequestRefused(503, "The server is restarting. Please try again.")
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # A caller that went away does not look at it, which asyncio would report.
        opened.add_done_callback(lambda done: done.cancelled() or done.exception())
        task = asyncio.create_task(self._run(assignment, opened), name=f"turn {assignment.stream_id} {assignment.version}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.shield(opened)

    async def drain(self) -> None:
        """Let running turns end, then cancel them."""
        self._draining = True
        if self._tasks:
            _, left = await asyncio.wait(self._tasks, timeout=self._drain_timeout)
            for task in left:
                task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=RELEASE_TIMEOUT)

    async def _run(self, assignment: Assignment, opened: asyncio.Future[None]) -> None:
        try:
            async with self._publisher(assignment) as pub:
                await pub.write({"type": "start", "messageId": assignment.message_id})
                opened.set_result(None)
                async with silence_limit(pub, self._max_silence):
                    await self._reply(ChatTurn(assignment, pub))
        except (StreamStopped, Fenced) as ended:
            logger.info("turn ended: %s", ended)
            _settle(opened, ended)
        except Exception as error:
            if not _settle(opened, error):
                logger.exception("the reply of stream %r version %d failed", assignment.stream_id, assignment.version)
        finally:
            opened.cancel()

    def _publisher(self, assignment: Assignment) -> Publisher[Chunk]:
        return self._service.publisher(
            assignment.stream_id,
            assignment.version,
            message_id=assignment.message_id,
            owner=assignment.owner,
            attempt=assignment.attempt,
            request=assignment.request.body,
            # Only a drain cancels a turn without ending its version.
            on_cancel="release",
        )


def _settle(opened: asyncio.Future[None], error: Exception) -> bool:
    if opened.done():
        return False
    opened.set_exception(error)
    return True
