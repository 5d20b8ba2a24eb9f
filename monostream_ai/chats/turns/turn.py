"""A turn as a reply sees it: the question it answers, and the publisher it writes to."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

from monostream_ai._writing.publisher import Publisher
from monostream_ai.chats.turns.requests import Body, ChatRequest
from monostream_ai.chats.turns.written import Written
from monostream_ai.errors import InvalidArgument, UnknownStream
from monostream_ai.json_text import decode_json
from monostream_ai.observing import TraceContext
from monostream_ai.recording.message import recording_of
from monostream_ai.service import DurableStreamService
from monostream_ai.types import VersionInfo
from monostream_ai.ui_messages import Chunk, MessageReducer, UIMessage
from monostream_ai.ui_messages.tool_parts import tool_name

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

    from monostream_ai.langchain import StreamCallbackHandler


MAX_HANDOVERS: Final = 10
"""Handovers of one turn that cost it no attempt. There is a limit, since the reply itself may
be why processes are told to exit: it blocks the event loop, and a health check fails.
"""


TRACE_KEYS: Final = ("traceparent", "tracestate")
"""Keys in the metadata of a version. Source: W3C Trace Context, 3.2 and 3.3."""


RunTool: TypeAlias = Callable[[str, str, Any], Awaitable[Mapping[str, Any]]]
"""Runs a tool: called with the id of the call, the name of the tool and its input.

Returns `{"output": …}`, or `{"error": "…"}` with a text that the user and the model read.
"""


def new_message_id() -> str:
    return f"msg_{secrets.token_hex(12)}"


@dataclass(frozen=True, slots=True)
class Assignment:
    """A version to write, and the request it answers."""

    stream_id: str
    version: int
    request: ChatRequest
    owner: str | None
    attempt: int = 1
    handovers: int = 0
    exists: bool = False
    """Whether the version is there, and is taken over: it waits, or its publisher was lost."""
    goes_on: bool = False
    """Whether the attempt before, if there was one, wrote this version."""
    trace: TraceContext = field(default_factory=dict)
    """The context of the question, which is stored with the version; empty if nobody traces."""
    waits_since: datetime | None = None
    """When it was left to a worker, by the store's clock, if no run has begun yet."""
    # Fixed before the model is called: every replay, retry and history knows the message by it.
    message_id: str = field(default_factory=new_message_id)

    @classmethod
    def first(cls, stream_id: str, version: int, request: ChatRequest, owner: str | None) -> Self:
        assignment = cls(stream_id, version, request, owner)
        continued = request.continued_message_id
        return assignment if continued is None else replace(assignment, message_id=continued)

    @classmethod
    def again(cls, lost: VersionInfo, request: ChatRequest, message_id: str) -> Self:
        """Return the same work as the next version."""
        return cls(
            lost.stream_id,
            lost.version + 1,
            request,
            lost.owner,
            lost.attempt + 1,
            lost.handovers,
            trace=_trace_in(lost),
            message_id=message_id,
        )

    @classmethod
    def onward(
        cls, lost: VersionInfo, request: ChatRequest, message_id: str, *, goes_on: bool = True
    ) -> Self:
        """Return the rest of the work, in the same version; all of it if nobody has begun."""
        return cls(
            lost.stream_id,
            lost.version,
            request,
            lost.owner,
            lost.attempt + 1,
            lost.handovers,
            exists=True,
            goes_on=goes_on,
            trace=_trace_in(lost),
            waits_since=lost.created_at if lost.attempt == 0 else None,
            message_id=message_id,
        )

    @property
    def metadata(self) -> Body:
        """The facts that are stored with a new version: those of the request, and the trace."""
        return {**self.request.metadata, **self.trace}


def _trace_in(version: VersionInfo) -> dict[str, str]:
    told = decode_json(version.metadata or "{}")
    if not isinstance(told, dict):
        return {}
    return {key: told[key] for key in TRACE_KEYS if isinstance(told.get(key), str)}


def may_run_again(attempt: int, handovers: int, max_attempts: int) -> bool:
    """Return whether a lost turn has an attempt left; one that was handed over has lost none."""
    return max_attempts > 1 and attempt - min(handovers, MAX_HANDOVERS) < max_attempts


def may_be_attempt_of(latest: VersionInfo, version: int) -> bool:
    """Return whether a version has the number of an earlier attempt of the latest turn. A turn that
    waits has one attempt more than it has had.
    """
    # Several attempts may have had one version, so there may be fewer versions than attempts.
    return version >= 0 and 0 < latest.version - version < latest.attempt + latest.waiting


async def is_attempt_of(
    service: DurableStreamService[Any], latest: VersionInfo, version: int
) -> bool:
    """Return whether an older version is an earlier attempt of the latest turn. Each retry is the
    next version, and leaves the one before it open; a turn that goes on has all in one version.
    """
    if not may_be_attempt_of(latest, version):
        return False
    try:
        earlier = await service.status(latest.stream_id, version)
    except UnknownStream:
        return False
    return earlier.state == "open" and earlier.message_id == latest.message_id


class ChatTurn:
    """One answer of a chat, stored as one version of the chat's stream."""

    def __init__(
        self,
        assignment: Assignment,
        pub: Publisher[Chunk],
        service: DurableStreamService[Any],
    ) -> None:
        self._assignment = assignment
        self._service = service
        self._goes_on_in_text = False
        self.pub = pub
        """Takes chunks. Its version is open and has its `start`; it ends when the reply returns or
        raises.
        """

    def __repr__(self) -> str:
        return f"<ChatTurn {self.stream_id!r} v{self.version} attempt {self.attempt}>"

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
        """The id of the assistant message that this turn writes or continues."""
        return self._assignment.message_id

    @property
    def owner(self) -> str | None:
        """The return value of the router's `authorize`."""
        return self._assignment.owner

    @property
    def attempt(self) -> int:
        """1 for the first run; higher when a lost turn runs again or goes on."""
        return self._assignment.attempt

    @cached_property
    def written(self) -> Written:
        """The part of the answer that is stored already, with `on_lost="continue"`: the page shows
        it, and `pub` writes behind it. Empty in a first run and with `on_lost="retry"`.
        """
        return Written(self.pub.written, continued=self._assignment.request.continued_message)

    async def previous(self) -> Written:
        """Return the chunks of the attempt before this one, and the results of the tools that ran
        in any attempt.

        With `on_lost="retry"` each attempt is another version, which the next one replaces on the
        page. Empty in a first run.

        Raises:
            StoreUnavailable: The store did not answer.
        """
        if self.attempt == 1:
            return self.written
        attempts = [written async for written in self._earlier_attempts()]
        if self._assignment.goes_on:
            # Those of other versions are from before the policy was changed.
            attempts = [self.written, *attempts]
        if not attempts:
            return Written([], continued=self._assignment.request.continued_message)
        return attempts[0].after(attempts[1:])

    async def _earlier_attempts(self) -> AsyncIterator[Written]:
        """Yield the attempts before this one, the last one first, as far as none was pruned."""
        try:
            this = await self._service.status(self.stream_id, self.version)
            version = self.version - 1
            while await is_attempt_of(self._service, this, version):
                written = Written(
                    await self._service.chunks(self.stream_id, version),
                    continued=self._assignment.request.continued_message,
                )
                await written.prepare()
                yield written
                version -= 1
        except UnknownStream:
            return

    @property
    def messages(self) -> list[UIMessage]:
        """The whole conversation or its last message, whichever the client's transport sends.

        If the last message is the assistant's, this turn continues it, and it is verified: its
        text, calls and results are those that the chat's latest version stored, and the client has
        added answers to open calls and approvals only. A client may forge all others.
        """
        return self._assignment.request.messages

    @property
    def trigger(self) -> str:
        """`submit-message` or `regenerate-message`."""
        return self._assignment.request.trigger

    @property
    def body(self) -> Body:
        """The whole JSON body of the request, with your own keys; stored with the version.

        Its messages are those of `messages`.
        """
        return self._assignment.request.body

    @cached_property
    def callback(self) -> StreamCallbackHandler:
        """A LangChain callback that records a chain, agent or graph through `pub`.

        If the turn continues a message, it also gives the tool calls of that message their results.
        """
        # Imported here, so that an application without LangChain does not load it.
        from monostream_ai.langchain import StreamCallbackHandler

        return StreamCallbackHandler(
            self.pub,
            send_start=False,
            continued=self._assignment.request.continued_message,
            goes_on=self._goes_on_in_text,
        )

    def langchain_messages(self, *, with_written: bool = False) -> list[BaseMessage]:
        """Return `messages` for LangChain, without system messages, which a client could forge.

        Args:
            with_written: End with the text that an earlier attempt has written, if there is any, so
                that the model goes on in mid-sentence; `callback` then goes on in the same text.
                Only for models that continue a last message of the assistant: Claude up to 4.5
                does, but refuses it with thinking.

        Raises:
            RuntimeError: `callback` was made before, and would begin a new text.
        """
        from monostream_ai.langchain import to_langchain_messages

        messages = self.messages
        if with_written and self.written.text:
            if "callback" in self.__dict__ and not self._goes_on_in_text:
                raise RuntimeError(
                    "call langchain_messages(with_written=True) before turn.callback"
                )
            self._goes_on_in_text = True
            # Some models refuse a prompt that ends with a space.
            part = {"type": "text", "text": self.written.text.rstrip()}
            messages = [*messages, {"id": self.message_id, "role": "assistant", "parts": [part]}]
        return to_langchain_messages(messages)

    def resume_value(self) -> dict[str, Any] | None:
        """Return the value for `Command(resume=…)` after an approval, a rejection, or an answer to
        an interrupt of your own, else None.

        A page answers your own by `resume` in the body, such as `{"resume": {part.id: "1999"}}`.
        The question was asked by this chat's latest version. Check yourself that this user may
        decide. See `monostream_ai.langchain.resume_value`.
        """
        from monostream_ai.langchain import resume_value

        return resume_value(self.messages, answers=self.body.get("resume"))

    async def run_approved(self, run: RunTool) -> UIMessage:
        """Run the tool calls that the user has approved, and return the message with their results.

            conversation = await history.ask(turn)
            if conversation[-1]["role"] == "assistant":
                conversation[-1] = await turn.run_approved(run)

        The page gets each result, and each denial. A call that an earlier attempt has finished does
        not run again. A process may die between a tool and the storing of its result, and then the
        tool runs again: let it act once for each id of a call.

        Args:
            run: Called for one call after the other. If it raises, so does this method.

        Raises:
            InvalidArgument: `run` returned something else.
        """
        results = (await self.previous()).results
        recording, reducer = recording_of(self.pub), MessageReducer(self.written.message)
        for part in self.written.message["parts"]:
            if part.get("state") != "approval-responded":
                continue
            call_id = part["toolCallId"]
            if not part["approval"]["approved"]:
                chunks = recording.builder.tool_denied(call_id)
            elif call_id in results:
                chunks = recording.tool_result(call_id, output=results[call_id])
            else:
                result = await run(call_id, tool_name(part), part["input"])
                chunks = recording.tool_result(call_id, **_checked(result))
            recording._push(self.pub, chunks, refuse=True)
            await self.pub.flush()
            for chunk in chunks:
                reducer.feed(chunk)
        return reducer.message


def _checked(result: object) -> Mapping[str, Any]:
    if isinstance(result, Mapping) and list(result) in (["output"], ["error"]):
        return result
    given = list(result) if isinstance(result, Mapping) else type(result).__name__
    raise InvalidArgument(f"run returns {{'output': …}} or {{'error': '…'}}, not {given}")
