"""Picks the API that an event belongs to, and hands the event to the mapper of that API.

The shape of the event decides: streams may come from any version of the SDK, or as plain dicts.
"""

from __future__ import annotations

from typing import Any, Final

from monostream_ai.errors import InvalidArgument
from monostream_ai.openai.chat import ChatMapper
from monostream_ai.openai.responses import ResponsesMapper
from monostream_ai.recording.fields import get, get_text
from monostream_ai.recording.message import Recording
from monostream_ai.recording.model_output import ModelOutput
from monostream_ai.ui_messages import Chunk

_CHUNK: Final = "chat.completion.chunk"
_CHAT_OBJECTS: Final = ("chat.completion", "text_completion", "error")
_REPEATS: Final = ("content.", "refusal.", "tool_calls.", "logprobs.")
"""Beginnings of the types of events that repeat the content of chunks.

Source: openai-python 3.57.0, lib/streaming/chat/_events.py.
"""
_CAPTURES: Final = {
    "anthropic": "anthropic",
    "google": "google_genai",
    "langchain_core": "langchain",
    "langgraph": "langchain",
    "agents": "openai_agents",
    "pydantic_ai": "pydantic_ai",
}
"""The package of an event's class, and the module here that records such events."""


class EventMapper:
    """Maps the events of one stream, without any I/O.

    It never returns a terminal chunk, since a tool loop makes several responses: the publisher's
    block ends the version. A `message-metadata` chunk tells the finish reason and the tokens used,
    and the protocol's `finish` repeats the reason.
    """

    def __init__(
        self, recording: Recording, *, encrypted_reasoning: bool, other_items: bool
    ) -> None:
        self.recording = recording
        self._options = {"encrypted_reasoning": encrypted_reasoning, "other_items": other_items}
        self._mapper: ChatMapper | ResponsesMapper | None = None
        # Stands for the response until the first event tells which API it comes from.
        self._nothing_yet = ModelOutput(recording)
        self._foreign = 0
        self._goes_on = False

    @property
    def output(self) -> ModelOutput:
        """The current response, or the last one if none is running."""
        return self._nothing_yet if self._mapper is None else self._mapper.output

    @property
    def last_number(self) -> int | None:
        """As `ResponsesMapper.last_number`."""
        return self._mapper.last_number if isinstance(self._mapper, ResponsesMapper) else None

    @property
    def begun(self) -> bool:
        """Whether an event of OpenAI has come."""
        return self._mapper is not None

    def go_on(self) -> None:
        """Take the next events as those of another stream for the same response."""
        self._goes_on = True
        if isinstance(self._mapper, ResponsesMapper):
            self._mapper.go_on()

    def feed(self, event: Any) -> list[Chunk]:
        if isinstance(self._mapper, ChatMapper) and get_text(event, "object") == _CHUNK:
            # A chunk of the SDK takes long to say that it has no type.
            return self._mapper.feed(event)
        kind = get_text(event, "type")
        if kind == "chunk":
            # The manager of `chat.completions.stream` wraps each chunk like this.
            event, kind = get(event, "chunk"), ""
        if kind.startswith("response.") or kind == "error":
            chunks = self._turn_to_responses(event)
        elif _is_chat(event):
            chunks = self._turn_to_chat()
        else:
            return self._other(kind, event)
        return [*chunks, *self._mapper.feed(event)] if self._mapper else []

    def _other(self, kind: str, event: Any) -> list[Chunk]:
        if self._mapper is None:
            self._foreign += 1
            self._nothing_yet.failure = _wrong_door(self._foreign, event)
            return []
        repeats = isinstance(self._mapper, ChatMapper) and kind.startswith(_REPEATS)
        return [] if repeats or not event else self._mapper.other(kind or "event", event)

    def _turn_to_responses(self, event: Any) -> list[Chunk]:
        if isinstance(self._mapper, ResponsesMapper):
            return []
        cut = self.recording.state.get(ResponsesMapper)
        if isinstance(cut, ResponsesMapper) and self._mapper is None and cut.continues(event):
            cut.go_on()
            self._mapper = cut
            return []
        chunks = self._give_up()
        self._mapper = ResponsesMapper(self.recording, **self._options)
        if self._goes_on:
            self._mapper.go_on()
        return chunks

    def _turn_to_chat(self) -> list[Chunk]:
        if isinstance(self._mapper, ChatMapper):
            return []
        chunks = self._give_up()
        self._mapper = ChatMapper(self.recording)
        return chunks

    def _give_up(self) -> list[Chunk]:
        """Show what a response held back that was cut and did not go on."""
        cut = self.recording.state.pop(ResponsesMapper, None)
        return [] if cut is None or cut.output.complete else cut.output.leftovers()


def _is_chat(event: Any) -> bool:
    named = get_text(event, "object").startswith(_CHAT_OBJECTS)
    if named or isinstance(get(event, "choices"), list | tuple):
        return True
    return get(event, "error") is not None and get(event, "type") is None


def _wrong_door(count: int, event: Any) -> InvalidArgument:
    """Return the error of a stream that has nothing of OpenAI so far."""
    return InvalidArgument(f"none of {count} events is OpenAI's; {_other_door(event)}")


def _other_door(event: Any) -> str:
    package, kind = type(event).__module__.partition(".")[0], get_text(event, "type")
    if isinstance(event, tuple):
        return "a graph's stream is recorded by monostream_ai.langchain.record_graph"
    module = _CAPTURES.get(package)
    if module is None and kind.startswith(("message_", "content_block_")):
        module = "anthropic"
    if module is None and get(event, "candidates") is not None:
        module = "google_genai"
    if module is None:
        return f"the last one is {type(event).__name__}: use monostream_ai.recording.record"
    return f"use monostream_ai.{module}"
