"""A turn: what a reply reads, and where it writes."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from monostream_ai._writing.publisher import Publisher
from monostream_ai.fastapi.requests import Body, ChatRequest
from monostream_ai.types import VersionInfo
from monostream_ai.ui_messages import Chunk, UIMessage

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

    from monostream_ai.langchain import StreamCallbackHandler


@dataclass(frozen=True, slots=True)
class Assignment:
    """One version to write, and what it is to answer."""

    stream_id: str
    version: int
    request: ChatRequest
    owner: str | None
    attempt: int = 1
    # Fixed before the model is called: every replay, retry and the history know the message by this
    # id.
    message_id: str = field(default_factory=lambda: f"msg_{secrets.token_hex(12)}")

    @classmethod
    def first(cls, stream_id: str, version: int, request: ChatRequest, owner: str | None) -> Self:
        assignment = cls(stream_id, version, request, owner)
        continued = request.continued_message_id
        return assignment if continued is None else replace(assignment, message_id=continued)

    @classmethod
    def again(cls, lost: VersionInfo) -> Self | None:
        """Return the same work as the next version, or None if a router of ours did not start the
        lost one.
        """
        request = ChatRequest.stored_with(lost)
        if request is None or lost.message_id is None:
            return None
        return cls(
            lost.stream_id, lost.version + 1, request, lost.owner, lost.attempt + 1, lost.message_id
        )


class ChatTurn:
    """One answer of a chat, which is one version of the chat's stream: what a reply reads, and
    where it writes.
    """

    def __init__(self, assignment: Assignment, pub: Publisher[Chunk]) -> None:
        self._assignment = assignment
        self.pub = pub
        """Takes chunks. Its version is open and begins with `start`; it is ended when the reply
        returns or raises.
        """

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
        """The id of the assistant message that this turn writes; on a continuation, of the one it
        goes on with.
        """
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
        """What the client sent: the whole conversation, or its last message, as its transport does
        it. It may be forged.
        """
        return self._assignment.request.messages

    @property
    def trigger(self) -> str:
        """`submit-message` or `regenerate-message`."""
        return self._assignment.request.trigger

    @property
    def body(self) -> Body:
        """The whole JSON body of the request, with whatever the client added. It is stored with the
        version.
        """
        return self._assignment.request.body

    @cached_property
    def callback(self) -> StreamCallbackHandler:
        """A LangChain callback that writes what a chain, agent or graph does to `pub`.

        On a continuation it gives the calls of the message that the turn goes on with their
        results.
        """
        # Imported here, so that an application without LangChain does not load it.
        from monostream_ai.langchain import StreamCallbackHandler

        continues = self._assignment.request.continued_message_id == self.message_id
        return StreamCallbackHandler(
            self.pub, send_start=False, continued=self.messages[-1] if continues else None
        )

    def langchain_messages(self) -> list[BaseMessage]:
        """Return `messages` as LangChain messages. System messages are left out: a client could
        forge them.
        """
        from monostream_ai.langchain import to_langchain_messages

        return to_langchain_messages(self.messages)

    def resume_value(self) -> dict[str, Any] | None:
        """Return what `Command(resume=…)` needs to go on with what the user approved or rejected;
        None if there is no answer.

        As `monostream_ai.langchain.resume_value`. That this user may decide is for you to check.
        """
        from monostream_ai.langchain import resume_value

        return resume_value(self.messages)
