"""What one response of a model says, as parts of the message: the pieces that both APIs share."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from monostream_ai.openai.errors import ResponseFailed, TruncatedStream
from monostream_ai.openai.recording import Recording
from monostream_ai.openai.usage import usage_of
from monostream_ai.ui_messages import Chunk, to_json_value
from monostream_ai.ui_messages.texts import INVALID_INPUT_TEXT, finish_reason_of

PartKind = Literal["text", "reasoning"]


@dataclass(slots=True)
class Call:
    """A tool call; `published` is its id in the message once it was announced."""

    call_id: str = ""
    name: str = ""
    arguments: str = ""
    provider_executed: bool = False
    published: str | None = None


class Output:
    """Maps one response. One text or reasoning part is open at a time; another place, kind or tool
    call ends it.

    A place is where the vendor puts a part: deltas of one place make one part.
    """

    def __init__(self, recording: Recording) -> None:
        self.complete = False
        self.failure: ResponseFailed | None = None
        self._recording = recording
        self._builder = recording.builder
        self._usage: dict[str, int] = {}
        recording.usages.append(self._usage)
        self._part: tuple[PartKind, object] | None = None
        self._part_id = ""
        self._calls_tools = False
        self._refused = False

    def text(self, place: object, delta: str) -> list[Chunk]:
        return (
            [*self._turn_to("text", place), *self._builder.text(self._part_id, delta)]
            if delta
            else []
        )

    def refusal(self, place: object, delta: str) -> list[Chunk]:
        """Show a refusal as text; the response then finishes as filtered."""
        self._refused = self._refused or bool(delta)
        return self.text(place, delta)

    def reasoning(self, place: object, delta: str) -> list[Chunk]:
        return (
            [*self._turn_to("reasoning", place), *self._builder.reasoning(self._part_id, delta)]
            if delta
            else []
        )

    def end_part(self) -> list[Chunk]:
        """End the open part."""
        part, self._part = self._part, None
        if part is None:
            return []
        end = self._builder.end_text if part[0] == "text" else self._builder.end_reasoning
        return end(self._part_id)

    def end_reasoning(self) -> list[Chunk]:
        """End the open reasoning part, or send an empty one: its end carries what is not shown."""
        if self._part is not None and self._part[0] == "reasoning":
            return self.end_part()
        chunks = self._turn_to("reasoning", None)
        return [*chunks, *self._builder.reasoning(self._part_id, ""), *self.end_part()]

    def announce(self, call: Call) -> list[Chunk]:
        """Begin a call, with what there is of its arguments."""
        call.published = self._recording.publish_call(call.call_id)
        chunks = self.end_part()
        start = self._builder.tool_input(
            call.published, call.name, call.arguments, provider_executed=call.provider_executed
        )
        return [*chunks, *start]

    def extend(self, call: Call, arguments: str) -> list[Chunk]:
        """Append to the arguments of a call that was announced."""
        call.arguments += arguments
        if not arguments or not self._takes_input(call):
            return []
        return self._builder.tool_input(call.published or "", call.name, arguments)

    def call_with(self, call: Call, input: Any) -> list[Chunk]:
        """Give a call its whole input, once."""
        if not self._takes_input(call):
            return []
        self._calls_tools = self._calls_tools or not call.provider_executed
        chunks = [] if call.published else self.announce(call)
        value = to_json_value(input)
        given = self._builder.tool_call(
            call.published or "", call.name, value, provider_executed=call.provider_executed
        )
        return [*chunks, *given]

    def call_with_json(self, call: Call, arguments: str) -> list[Chunk]:
        """Give a call its whole input, or say that it is not JSON; no text is an empty object."""
        try:
            input = json.loads(arguments) if arguments.strip() else {}
        except (ValueError, RecursionError):
            return self._refuse(call, arguments)
        return self.call_with(call, input)

    def use(self, usage: Any) -> list[Chunk]:
        """Take the usage of this response so far; it may come before or after the finish reason."""
        if counts := usage_of(usage):
            self._usage.clear()
            self._usage.update(counts)
        return self._recording.tell({}) if self.complete else []

    def finish(self, given: str, **metadata: Any) -> list[Chunk]:
        """Note that the response is whole and why the model stopped. The step stays open for the
        results of its calls.
        """
        chunks = self.end_part()
        self.complete = True
        reason = finish_reason_of(given)
        if reason in ("stop", "other"):
            reason = (
                "content-filter" if self._refused else "tool-calls" if self._calls_tools else reason
            )
        return [*chunks, *self._recording.tell({"finishReason": reason, **metadata})]

    def fail(self, failure: ResponseFailed | None = None) -> list[Chunk]:
        """Close everything; calls whose input is not whole become errors. Without a failure, the
        stream was cut.
        """
        self._part = None
        self.failure = self.failure or failure or TruncatedStream()
        self.complete = False
        return self._builder.finish_step()

    def _refuse(self, call: Call, arguments: str) -> list[Chunk]:
        if not self._takes_input(call):
            return []
        self._calls_tools = True
        chunks = [] if call.published else self.announce(call)
        published = call.published or ""
        self._recording.refused_calls.add(published)
        return [
            *chunks,
            *self._builder.tool_input_error(published, call.name, arguments, INVALID_INPUT_TEXT),
        ]

    def _takes_input(self, call: Call) -> bool:
        known = None if call.published is None else self._builder.call(call.published)
        return known is None or known.state == "streaming"

    def _turn_to(self, kind: PartKind, place: object) -> list[Chunk]:
        if self._part == (kind, place):
            return []
        chunks = self.end_part()
        self._part, self._part_id = (kind, place), self._recording.new_part_id(kind)
        return chunks
