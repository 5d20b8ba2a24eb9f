"""Turns events of the Responses API into UI message chunks.

The table at the end names the method for each event; output items have their own module, `items`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from monostream_ai.openai.chat_calls import arguments_text
from monostream_ai.openai.content import Spoken, text_of
from monostream_ai.openai.item_list import CALL, id_of
from monostream_ai.openai.items import Items
from monostream_ai.openai.sources import sources_beside
from monostream_ai.openai.usage import usage_of
from monostream_ai.recording.fields import get, get_index, get_text, named_fields
from monostream_ai.recording.message import Recording
from monostream_ai.recording.model_output import ModelOutput, ResponseFailed
from monostream_ai.ui_messages import Chunk
from monostream_ai.ui_messages.texts import REFUSED_TEXT, finish_reason_of

_FAILED: Final = ("failed", "cancelled")
_PLUMBING: Final = frozenset(
    {
        "type",
        "sequence_number",
        "event_id",
        "response_id",
        "item_id",
        "output_index",
        "content_index",
        "summary_index",
        "annotation_index",
        "command_index",
        "partial_image_index",
        "logprobs",
        "obfuscation",
        "status",
        "response",
        "part",
    }
)
"""Fields of events that hold no content, or nothing that a later event does not repeat."""

_REPEATED: Final = frozenset(
    {
        "response.image_generation_call.partial_image",
        "response.shell_call_command.added",
    }
)
"""Events whose content comes once more with the whole item."""


class ResponsesMapper:
    """Maps the events of one response after another.

    A background response that was cut goes on in another stream, which `starting_after` begins in
    the middle: `continues` recognizes it.
    """

    def __init__(
        self, recording: Recording, *, encrypted_reasoning: bool = False, other_items: bool = False
    ) -> None:
        self._recording = recording
        self._unread = recording.unread("openai")
        self._options = {"encrypted_reasoning": encrypted_reasoning, "other_items": other_items}
        self._begin()
        recording.state[ResponsesMapper] = self

    def feed(self, event: Any) -> list[Chunk]:
        kind, number = get_text(event, "type"), get_index(event, "sequence_number")
        if number is not None and self._skips(number):
            return []
        effect = _EFFECTS.get(kind)
        return self.other(kind, event) if effect is None else effect(self, event)

    def other(self, kind: str, event: Any) -> list[Chunk]:
        """Gather what an event of an unknown type holds."""
        if kind not in _REPEATED:
            self._items.remains.add_event(kind, event, _PLUMBING)
        return self._items.remains.keep() if self.output.complete else []

    def continues(self, event: Any) -> bool:
        """Whether a new stream that begins with this event goes on with the response here."""
        number = get_index(event, "sequence_number")
        if self.output.complete or not self._numbered or number is None:
            return False
        if response_id := id_of(get(event, "response")):
            return response_id == self._response_id
        known = self._items.list.knows(id_of(event, "item_id") or id_of(get(event, "item")))
        return known or number > self._last

    @property
    def last_number(self) -> int | None:
        """The number of the last event, to go on behind it; None if the server does not count."""
        return self._last if self._numbered and self._last >= 0 else None

    def go_on(self) -> None:
        """Take the events of another stream for the same response: it skips those seen before."""
        self.output.failure = None
        self.output.may_go_on = self._resumed = True

    def _begin(self) -> None:
        self.output = ModelOutput(self._recording)
        self._items = Items(self._recording, self.output, **self._options)
        self.output.leftovers = self._items.cut_off
        self._response_id = ""
        self._last = -1
        self._numbered = True
        self._resumed = False

    def _skips(self, number: int) -> bool:
        """Whether the event was seen before its stream was cut; also notices events that are lost.

        Only the numbers of a server that counts are trusted.
        """
        if self._resumed and number <= self._last:
            return True
        if self._resumed and number > self._last + 1:
            self._items.list.mark_gap()
        self._numbered = self._numbered and number > self._last
        self._resumed, self._last = False, number
        return False

    def _created(self, event: Any) -> list[Chunk]:
        number = self._last
        chunks = [*self._items.cut_off(), *self.output.speech.end()]
        self._begin()
        self._last = number if get_index(event, "sequence_number") is not None else -1
        self._response_id = id_of(get(event, "response"))
        # OpenAI tells of a response whether it can be retrieved as a stream; others do not.
        background = get(event, "response", "background")
        self.output.may_go_on = bool(self._response_id) and background is not False
        self._items.calls.tools = get(event, "response", "tools")
        chunks += self._recording.builder.start_step()
        if self._response_id and background is True:
            # Another process needs the id to go on with the response.
            chunks += self._recording.tell({"responseId": self._response_id})
        return chunks

    def _item_added(self, event: Any) -> list[Chunk]:
        return self._items.added(get_index(event, "output_index"), get(event, "item"))

    def _item_done(self, event: Any) -> list[Chunk]:
        return self._items.done(get_index(event, "output_index"), get(event, "item"))

    def _input(self, event: Any) -> list[Chunk]:
        return self._items.calls.extend(self._items.list.of_event(event, CALL), get(event, "delta"))

    def _input_done(self, event: Any) -> list[Chunk]:
        given = get(event, "arguments")
        given = get(event, "input") if given is None else given
        item = self._items.list.of_event(event, CALL)
        return self._items.calls.input_done(item, given, get_text(event, "name"))

    def _call_text(self, event: Any) -> list[Chunk]:
        """Hold text that the whole item repeats, in case that item never comes."""
        item, given = self._items.list.of_event(event, CALL), get(event, "delta")
        text = text_of(given) or arguments_text(given)
        item.pending.setdefault(get_text(event, "type"), []).append(text)
        return []

    def _call_text_done(self, event: Any, *, key: str) -> list[Chunk]:
        """Hold a whole text, unless its deltas have brought it."""
        item, text = self._items.list.of_event(event, CALL), arguments_text(get(event, key))
        kind = get_text(event, "type").removesuffix(".done")
        if text not in "".join(item.pending.get(f"{kind}.delta", ())):
            item.pending.setdefault(f"{kind}.done", []).append(text)
        return []

    def _text(self, event: Any, *, kind: Spoken, key: str) -> list[Chunk]:
        given = get(event, "delta")
        text = given if isinstance(given, str) else text_of(given)
        if not text and given:
            self._items.remains.add(get_text(event, "type"), given)
        return self._items.delta(event, kind, key, text) if text else []

    def _text_done(self, event: Any, *, kind: Spoken, key: str) -> list[Chunk]:
        names = ("text", "refusal", "transcript")
        text = next((text for name in names if (text := text_of(get(event, name)))), "")
        chunks = self._items.text_done(event, kind, key, text) if text else []
        return [*chunks, *(self._reasoning_end() if kind == "reasoning" else [])]

    def _part_done(self, event: Any) -> list[Chunk]:
        rest = self._items.part_done(event, "text", "content_index")
        return [*rest, *self._items.end_text()]

    def _summary_done(self, event: Any) -> list[Chunk]:
        rest = self._items.part_done(event, "reasoning", "summary_index")
        return [*rest, *self._reasoning_end()]

    def _reasoning_end(self) -> list[Chunk]:
        # Encrypted reasoning comes with the whole item and rides on the end of its last part.
        return [] if self._options["encrypted_reasoning"] else self.output.speech.end()

    def _annotation(self, event: Any) -> list[Chunk]:
        return self._items.annotated(event)

    def _audio(self, event: Any) -> list[Chunk]:
        self._items.hear(get_text(event, "delta"))
        return []

    def _completed(self, event: Any) -> list[Chunk]:
        response = get(event, "response")
        status = get_text(response, "status")
        if status in _FAILED or get(response, "error"):
            return self._failed(event)
        self.output.use(usage_of(get(response, "usage")))
        reason = get_text(response, "incomplete_details", "reason")
        ended = get_text(event, "type").removeprefix("response.").replace("done", "completed")
        reason = reason or (status if status == "incomplete" else ended)
        chunks = self._rest(response)
        if finish_reason_of(reason) == "content-filter" and not self._items.said_anything:
            chunks += self.output.refusal("refusal", REFUSED_TEXT)
        response_id = id_of(response)
        told = {"responseId": response_id} if response_id else {}
        return [*chunks, *self.output.finish(reason, **told)]

    def _failed(self, event: Any) -> list[Chunk]:
        response = get(event, "response")
        self.output.use(usage_of(get(response, "usage")))
        error = get(response, "error") or get(event, "error") or event
        code = get(error, "code") or get(response, "status")
        message = error if isinstance(error, str) else get_text(error, "message")
        chunks = self._rest(response, failed=True)
        failure = ResponseFailed(None if code is None else str(code), message)
        return [*chunks, *self.output.fail(failure)]

    def _rest(self, response: Any, *, failed: bool = False) -> list[Chunk]:
        """Show what no event before has brought of a response that ends."""
        self._items.calls.tools = get(response, "tools") or self._items.calls.tools
        output = get(response, "output") or named_fields(response).get("output_text")
        chunks = self._items.whole_output(output)
        chunks += sources_beside(self._recording, self._unread, response)
        return [*chunks, *(self._items.cut_off() if failed else self._items.end())]


_Effect = Callable[[ResponsesMapper, Any], list[Chunk]]


def _texts(kind: Spoken, key: str, *names: str) -> dict[str, _Effect]:
    delta = partial(ResponsesMapper._text, kind=kind, key=key)
    done = partial(ResponsesMapper._text_done, kind=kind, key=key)
    return {
        **{f"response.{name}.delta": delta for name in names},
        **{f"response.{name}.done": done for name in names},
    }


_EFFECTS: Final[Mapping[str, _Effect]] = {
    "response.created": ResponsesMapper._created,
    "response.output_item.added": ResponsesMapper._item_added,
    "response.output_item.done": ResponsesMapper._item_done,
    "response.function_call_arguments.delta": ResponsesMapper._input,
    "response.function_call_arguments.done": ResponsesMapper._input_done,
    "response.custom_tool_call_input.delta": ResponsesMapper._input,
    "response.custom_tool_call_input.done": ResponsesMapper._input_done,
    "response.mcp_call_arguments.delta": ResponsesMapper._call_text,
    "response.code_interpreter_call_code.delta": ResponsesMapper._call_text,
    "response.shell_call_command.delta": ResponsesMapper._call_text,
    "response.shell_call_output_content.delta": ResponsesMapper._call_text,
    "response.mcp_call_arguments.done": partial(ResponsesMapper._call_text_done, key="arguments"),
    "response.code_interpreter_call_code.done": partial(
        ResponsesMapper._call_text_done, key="code"
    ),
    "response.shell_call_command.done": partial(ResponsesMapper._call_text_done, key="command"),
    "response.shell_call_output_content.done": partial(
        ResponsesMapper._call_text_done, key="output"
    ),
    **_texts("text", "content_index", "output_text", "text"),
    **_texts("text", "content_index", "audio.transcript", "output_audio_transcript"),
    **_texts("refusal", "content_index", "refusal"),
    **_texts("reasoning", "content_index", "reasoning_text", "reasoning"),
    **_texts("reasoning", "summary_index", "reasoning_summary_text", "reasoning_summary"),
    "response.content_part.done": ResponsesMapper._part_done,
    "response.reasoning_summary_part.done": ResponsesMapper._summary_done,
    "response.output_text.annotation.added": ResponsesMapper._annotation,
    "response.audio.delta": ResponsesMapper._audio,
    "response.output_audio.delta": ResponsesMapper._audio,
    "response.completed": ResponsesMapper._completed,
    "response.done": ResponsesMapper._completed,
    "response.incomplete": ResponsesMapper._completed,
    "response.failed": ResponsesMapper._failed,
    "response.cancelled": ResponsesMapper._failed,
    "error": ResponsesMapper._failed,
}
