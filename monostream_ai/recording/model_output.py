"""One response of a model as parts of the message: its text, its tool calls, and how it ended.

The mappers of all SDKs share it. A response may fail although the SDK raises nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from monostream_ai.errors import MonostreamError
from monostream_ai.recording.message import Recording
from monostream_ai.ui_messages import Chunk, to_json_value
from monostream_ai.ui_messages.model_output import Speech, StreamedCall
from monostream_ai.ui_messages.texts import (
    INCOMPLETE_INPUT_TEXT,
    INVALID_INPUT_TEXT,
    finish_reason_of,
)

_UNFINISHED: Final = frozenset({"length", "content-filter", "error"})
"""Finish reasons of answers that are not whole."""


class ResponseFailed(MonostreamError):
    """The model reported an error in its stream.

    The SDK yields such an event and then ends the loop as if all were well.
    """

    def __init__(self, code: str | None, reason: str) -> None:
        super().__init__(
            f"the model's response failed ({code or 'no code'}): {reason or 'no reason given'}"
        )
        self.code = code
        self.reason = reason


class TruncatedStream(ResponseFailed):
    """The stream ended before the model said why it stopped.

    A server or a proxy broke it off, and the SDK raises nothing.
    """

    def __init__(self) -> None:
        super().__init__("truncated", "the stream ended before the response was complete")


def leftovers_of(recording: Recording) -> list[Chunk]:
    """Return the values that responses without an end still hold back, as their message ends."""
    outputs: list[ModelOutput] = recording.state.get(ModelOutput, [])
    return [chunk for each in outputs if not each.complete for chunk in each.leftovers()]


class ModelOutput:
    """Maps one response.

    `complete` is True once the model has said why it stopped; `failure` is set if it never will.
    `leftovers` returns what its mapper still holds back, if the response is cut or fails; a second
    call returns nothing. A response that `may_go_on` in another stream keeps all of that, and its
    open parts, when it is cut: the next response or the end of the message shows and closes them.
    """

    def __init__(self, recording: Recording) -> None:
        self.complete = False
        self.failure: MonostreamError | None = None
        self.leftovers: Callable[[], list[Chunk]] = list
        self.may_go_on = False
        self.speech = Speech(recording.builder, recording.new_part_id)
        self._recording = recording
        self._builder = recording.builder
        self._usage = recording.new_usage()
        self._calls_tools = False
        self._refused = False
        self._reason = ""
        outputs: list[ModelOutput] = recording.state.setdefault(ModelOutput, [])
        outputs[:] = [*(output for output in outputs if not output.complete), self]

    def refusal(self, place: object, delta: str) -> list[Chunk]:
        """Show a refusal as text; the response then finishes with `content-filter`."""
        self._refused = self._refused or bool(delta)
        return self.speech.text(place, delta)

    def announce(self, call: StreamedCall) -> list[Chunk]:
        """Begin a call with the arguments it has so far."""
        return self.speech.announce(call, self._recording.publish_call(call.call_id))

    def extend(self, call: StreamedCall, arguments: str) -> list[Chunk]:
        """Append to the arguments of a call that was announced."""
        call.arguments += arguments
        if not arguments or not self.takes_input(call):
            return []
        return self._builder.tool_input(call.published or "", call.name or "", arguments)

    def call_with(self, call: StreamedCall, input: Any) -> list[Chunk]:
        """Give a call its whole input; nothing if it has its input already."""
        if not self.takes_input(call):
            return []
        self._calls_tools = self._calls_tools or not call.provider_executed
        chunks = [] if call.published else self.announce(call)
        return chunks + self._builder.tool_call(
            call.published or "",
            call.name or "",
            to_json_value(input),
            provider_executed=call.provider_executed,
        )

    def call_with_json(self, call: StreamedCall, arguments: str) -> list[Chunk]:
        """Give a call its whole input from JSON text; invalid text makes it an error.

        Empty text stands for an empty object.
        """
        try:
            input = json.loads(arguments) if arguments.strip() else {}
        except (ValueError, RecursionError):
            return self._refuse_call(call, arguments)
        return self.call_with(call, input)

    def cut_off(self, call: StreamedCall) -> list[Chunk]:
        """Make a call whose input stopped arriving an error that holds what came of it."""
        if not call.arguments or not self.takes_input(call):
            return []
        chunks = [] if call.published else self.announce(call)
        return chunks + self._builder.tool_input_error(
            call.published or "", call.name or "unknown", call.arguments, INCOMPLETE_INPUT_TEXT
        )

    def takes_input(self, call: StreamedCall) -> bool:
        """Whether a call still waits for its whole input."""
        known = None if call.published is None else self._builder.call(call.published)
        return known is None or known.state == "streaming"

    def use(self, counts: Mapping[str, int]) -> list[Chunk]:
        """Take the token counts of this response so far, under names of `LanguageModelUsage`.

        They may come before or after the finish reason.
        """
        if counts:
            self._usage.clear()
            self._usage.update(counts)
        return self._recording.tell({}) if self.complete else []

    def ends_with(self, given: str) -> bool:
        """Return whether to `finish` the response with this reason.

        It is the first one, or it tells that the answer is not whole: some servers say `stop` in
        every chunk, and only at the end that they cut the answer.
        """
        if not self.complete:
            return True
        return self._reason not in _UNFINISHED and finish_reason_of(given) in _UNFINISHED

    def finish(self, given: str, **metadata: Any) -> list[Chunk]:
        """Note that the response is complete and why the model stopped.

        The step stays open for the results of its calls.
        """
        chunks = self.speech.end()
        self.complete = True
        reason = finish_reason_of(given)
        if reason in ("stop", "other") and self._refused:
            reason = "content-filter"
        elif reason in ("stop", "other") and self._calls_tools:
            reason = "tool-calls"
        self._reason = reason
        return [*chunks, *self._recording.tell({"finishReason": reason, **metadata})]

    def fail(self, failure: ResponseFailed | None = None) -> list[Chunk]:
        """Close the open parts and the step; calls with unfinished input become errors.

        Args:
            failure: The error that the model reported; None if the stream was cut.
        """
        cut = failure is None and self.failure is None
        self.failure = self.failure or failure or TruncatedStream()
        self.complete = False
        if cut and self.may_go_on:
            return []
        chunks = [*self.leftovers(), *self._builder.finish_step()]
        # The end of the step has closed the open part, so this adds nothing: it only forgets it.
        return [*chunks, *self.speech.end()]

    def _refuse_call(self, call: StreamedCall, arguments: str) -> list[Chunk]:
        if not self.takes_input(call):
            return []
        self._calls_tools = self._calls_tools or not call.provider_executed
        chunks = [] if call.published else self.announce(call)
        published = call.published or ""
        self._recording.refused_calls.add(published)
        return chunks + self._builder.tool_input_error(
            published, call.name or "", arguments, INVALID_INPUT_TEXT
        )
