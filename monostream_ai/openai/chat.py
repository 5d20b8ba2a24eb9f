"""Turns chunks of chat completions, and of the older completions, into UI message chunks.

It reads OpenAI's own chunks and those of the many servers that imitate its API.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from monostream_ai.openai.chat_calls import ChatCalls, number_of
from monostream_ai.openai.chat_fields import (
    FOUND,
    KNOWN,
    LITELLM,
    PASSED_ON,
    REASONING,
    SAID,
    SILENT,
    UNSAID,
    Fields,
    block_in,
    content_in,
    error_in,
    fields_of_choice,
    fields_of_delta,
    has_more,
    kind_of,
    reason_in,
)
from monostream_ai.openai.content import Piece, Spoken, read_content, text_of
from monostream_ai.openai.reasoning_state import ReasoningState
from monostream_ai.openai.remains import Remains
from monostream_ai.openai.sources import source_of, sources_beside
from monostream_ai.openai.usage import usage_in
from monostream_ai.recording.fields import (
    get,
    get_list,
    get_text,
    named_fields,
    present_fields,
    to_json,
)
from monostream_ai.recording.message import Recording
from monostream_ai.recording.model_output import ModelOutput
from monostream_ai.ui_messages import Chunk
from monostream_ai.ui_messages.audio import audio_file
from monostream_ai.ui_messages.texts import REFUSED_TEXT, finish_reason_of


class ChatMapper:
    """Maps one completion. Of several choices it shows the first one, with index 0.

    A server may send a `message` in place of a delta: pieces of it, or all of it so far. Only what
    was not shown before is shown then.
    """

    def __init__(self, recording: Recording) -> None:
        self.output = ModelOutput(recording)
        self.output.leftovers = self._leftovers
        self._recording = recording
        self._unread = recording.unread("openai")
        self._remains = Remains(self._unread)
        self._begun = False
        self._chunk_id: Any = None
        self._reason = ""
        self._calls = ChatCalls(recording, self.output, self._remains)
        self._state = ReasoningState()
        self._audio: list[str] = []
        self._passed_on: dict[str, Any] = {}
        """The last value of each field of LiteLLM's that grows from chunk to chunk."""
        self._said: dict[Spoken, list[str]] = {"text": [], "reasoning": [], "refusal": []}
        self._in_messages = False
        """Whether the content so far came as messages in place of deltas."""
        self._in_message = False

    def feed(self, chunk: Any) -> list[Chunk]:
        fields = present_fields(chunk)
        chunks = [] if self._begun else self._recording.builder.start_step()
        self._begun = True
        choices = self._first_choices(fields)
        for choice in choices:
            chunks += self._choice(choice)
        for holder in (fields, *choices):
            if not KNOWN.issuperset(holder):
                chunks += self._report(holder)
        if self._reason:
            chunks += self._late_calls()
        if self.output.complete or any(map(has_more, (fields, *choices))):
            chunks += self._beside(fields, choices)
        return chunks

    def other(self, kind: str, event: Any) -> list[Chunk]:
        """Gather what an event of an unknown type holds."""
        self._remains.add_event(kind, event, _EVENT_PLUMBING)
        return self._remains.keep() if self.output.complete else []

    def _first_choices(self, chunk: Fields) -> Sequence[Fields]:
        """Return the pieces of the first choice; reports those of any other."""
        given = [fields_of_choice(each) for each in get_list(chunk, "choices")]
        chunk_id = chunk.get("id")
        self._chunk_id = self._chunk_id or chunk_id
        if len(given) == 1 and chunk_id and chunk_id != self._chunk_id:
            # Foundry Local numbers its chunks there, each under an id of its own. The choices of
            # one answer share the id of their chunks.
            return given
        choices = [choice for choice in given if not number_of(choice)]
        if len(choices) < len(given):
            self._unread.lose("a choice besides the first")
        return choices

    def _report(self, holder: Fields) -> list[Chunk]:
        """Report the fields of a chunk or a choice that may hold content, but have no known name.

        Servers send statistics there, so others do not become parts of the message.
        """
        for name in sorted(holder.keys() - KNOWN - {LITELLM}):
            if name in FOUND and holder[name]:
                self._remains.add(f"field {name}", holder[name], once=True)
            elif holder[name] and not isinstance(holder[name], int | float):
                self._unread.lose(f"field {name}")
        return self._litellm(holder[LITELLM]) if LITELLM in holder else []

    def _beside(self, chunk: Fields, choices: Sequence[Fields]) -> list[Chunk]:
        """Read sources, usage, errors and the finish reason of a chunk or its choices."""
        chunks: list[Chunk] = []
        for holder in (chunk, *choices):
            chunks += sources_beside(self._recording, self._unread, holder)
        if counts := usage_in(chunk, get(chunk, "x_groq"), *choices):
            chunks += self.output.use(counts)
        if error := error_in(chunk, choices):
            return [*chunks, *self.output.fail(error)]
        reason = next((word for each in (*choices[:1], chunk) if (word := reason_in(each))), "")
        if (block := block_in(chunk)) and self.output.ends_with("safety"):
            chunks += self._say("refusal", f"{REFUSED_TEXT} ({block})")
            reason = reason or "safety"
        if reason and self.output.ends_with(reason):
            chunks += self._finish(reason)
        elif self.output.complete:
            chunks += self._not_read()
        return [*chunks, *self._native_reason(choices)]

    def _native_reason(self, choices: Sequence[Fields]) -> list[Chunk]:
        """Read the vendor's own word, which OpenRouter sends beside a `stop` that it made of it."""
        native = next((get_text(each, "native_finish_reason") for each in choices), "")
        if not native or not self.output.complete or not self.output.ends_with(native):
            return []
        return self._finish(native)

    def _choice(self, choice: Fields) -> list[Chunk]:
        chunks = self._delta(choice["delta"]) if "delta" in choice else []
        if "message" in choice:
            chunks += self._message(choice["message"], whole=bool(reason_in(choice)))
        # The older completions API sends the text itself. Together repeats it beside the delta.
        if (text := choice.get("text")) and text != text_of(choice.get("delta")):
            chunks += self._delta({"content": text})
        return chunks

    def _delta(self, delta: Any) -> list[Chunk]:
        fields = fields_of_delta(delta)
        self._state.read(fields)
        chunks: list[Chunk] = []
        for name in sorted(fields, key=_rank) if len(fields) > 1 else fields:
            value = fields[name]
            if value == "" or name in SILENT:
                continue
            if name in REASONING:
                chunks += self._reasoning(name, value, fields)
            elif name in ("content", "refusal"):
                chunks += self._content(value, kind_of(name, fields))
            elif (effect := _EFFECTS.get(name)) is not None:
                chunks += effect(self, value)
            else:
                self._remains.add(f"delta.{name}", value)
        return chunks

    def _reasoning(self, name: str, value: Any, fields: Mapping[str, Any]) -> list[Chunk]:
        # Some servers send a thought under two names.
        text = text_of(value)
        before = REASONING[: REASONING.index(name)]
        if text and any(text == text_of(fields.get(other)) for other in before):
            return []
        return self._content(value, "reasoning")

    def _content(self, value: Any, kind: Spoken = "text") -> list[Chunk]:
        if isinstance(value, str):
            return self._say(kind, value)
        return [chunk for piece in read_content(value, kind) for chunk in self._piece(piece)]

    def _piece(self, piece: Piece) -> list[Chunk]:
        if piece.kind == "file":
            return self._recording.file(*piece.value)
        if piece.kind == "source":
            return source_of(self._recording, self._unread, piece.value)
        if piece.kind == "audio":
            if not (self._in_message and piece.value in self._audio):
                self._audio.append(piece.value)
            return []
        if piece.kind == "unread":
            self._remains.add("delta.content", piece.value, once=self._in_message)
            return []
        return self._say(piece.kind, piece.value)

    def _say(self, kind: Spoken, text: str) -> list[Chunk]:
        self._said[kind].append(text)
        if kind == "reasoning":
            return self.output.speech.reasoning(None, text)
        chunks = self._state.end(self.output.speech)
        if kind == "refusal":
            return [*chunks, *self.output.refusal("refusal", text)]
        return [*chunks, *self.output.speech.text("content", text)]

    def _message(self, message: Any, *, whole: bool) -> list[Chunk]:
        """Read a message that stands in place of a delta, or repeats what the deltas said.

        Args:
            whole: This is the last message, which may repeat one that was whole already.
        """
        fields = dict(fields_of_delta(message))
        said_before = any(self._said.values())
        deltas_before = said_before and not self._in_messages
        if not said_before:
            self._state.read(fields)
        chunks: list[Chunk] = []
        texts, others = content_in(fields)
        for kind, text in texts.items():
            if news := self._news(kind, text, whole or deltas_before, deltas_before):
                chunks += self._say(kind, news)
        self._in_messages = not deltas_before
        self._in_message = self._calls.in_message = True
        chunks += [chunk for piece in others for chunk in self._piece(piece)]
        chunks += self._delta({key: fields[key] for key in fields if key not in SAID})
        self._in_message = self._calls.in_message = False
        return chunks

    def _news(self, kind: Spoken, text: str, repeats: bool, must: bool) -> str:
        """Return what the deltas and messages before have not said of a message's text."""
        said = "".join(self._said[kind])
        if text.startswith(said) and (repeats or len(text) > len(said)):
            return text[len(said) :]
        if not must:
            return text
        if text not in said:
            # It is neither shown twice nor lost.
            self._remains.add(f"message that differs from its deltas: {kind}", text)
        return ""

    def _tool_calls(self, value: Any) -> list[Chunk]:
        return [*self._state.end(self.output.speech), *self._calls.pieces(value)]

    def _function_call(self, value: Any) -> list[Chunk]:
        return [*self._state.end(self.output.speech), *self._calls.legacy(value)]

    def _sources(self, value: Any) -> list[Chunk]:
        listed = value if isinstance(value, list | tuple) else (value,)
        named = ({"url": each} if isinstance(each, str) else each for each in listed)
        return [chunk for each in named for chunk in source_of(self._recording, self._unread, each)]

    def _files(self, value: Any) -> list[Chunk]:
        listed = value if isinstance(value, list | tuple) else (value,)
        typed = (
            {"type": "image_url", "image_url": each} if isinstance(each, str) else each
            for each in listed
        )
        return self._content(list(typed))

    def _audio_piece(self, value: Any) -> list[Chunk]:
        if isinstance(value, str):
            self._audio.append(value)
            return []
        return self._content({"type": "audio", **named_fields(value)})

    def _litellm(self, value: Any) -> list[Chunk]:
        """Read the fields of the vendor that LiteLLM passes on, and its delta does not have."""
        chunks: list[Chunk] = []
        for name, given in sorted(present_fields(value).items()):
            if name in ("citation", "citations"):
                chunks += self._sources(given)
            elif name == "web_search_results":
                found = given if isinstance(given, list | tuple) else (given,)
                chunks += [chunk for result in found for chunk in self._found(result)]
            elif given and name not in PASSED_ON | UNSAID:
                self._pass_on(name, to_json(given))
        return chunks

    def _found(self, result: Any) -> list[Chunk]:
        """Map the result of Anthropic's web search; each chunk has all of them so far."""
        listed = get(result, "content")
        if isinstance(listed, list | tuple):
            return self._sources(listed)
        self._pass_on("web_search_results", to_json(result))
        return []

    def _pass_on(self, name: str, value: Any) -> None:
        before = self._passed_on.get(name)
        grows = isinstance(before, list) and isinstance(value, list)
        if (
            before is not None
            and before != value
            and not (grows and value[: len(before)] == before)
        ):
            self._remains.add(f"field {name}", before)
        self._passed_on[name] = value

    def _not_read(self) -> list[Chunk]:
        passed_on, self._passed_on = self._passed_on, {}
        for name, value in passed_on.items():
            self._remains.add(f"field {name}", value)
        return self._remains.keep()

    def _late_calls(self) -> list[Chunk]:
        """Read calls that come after the reason, of servers that tell one with every chunk."""
        calls = self._calls.unfinished
        if not calls:
            return []
        if not all(call.whole for call in calls):
            self.output.complete = False
            return []
        return [*self._calls.end(), *self.output.finish(self._reason)]

    def _finish(self, reason: str) -> list[Chunk]:
        self._reason = reason
        chunks = [*self._state.end(self.output.speech), *self.output.speech.end()]
        chunks += self._calls.end()
        if not any(self._said.values()) and finish_reason_of(reason) == "content-filter":
            chunks += self.output.refusal("refusal", REFUSED_TEXT)
        chunks += [*self._heard(), *self.output.speech.end(), *self._not_read()]
        return [*chunks, *self.output.finish(reason)]

    def _heard(self) -> list[Chunk]:
        pieces, self._audio = self._audio, []
        if not pieces:
            return []
        file = audio_file(pieces)
        if file is None:
            self._unread.lose("audio that is no base64")
            return []
        return self._recording.file(*file)

    def _leftovers(self) -> list[Chunk]:
        ended = [*self._state.end(self.output.speech), *self.output.speech.end()]
        return [*ended, *self._calls.cut_off(), *self._heard(), *self._not_read()]


_EFFECTS: Final[Mapping[str, Callable[[ChatMapper, Any], list[Chunk]]]] = {
    "images": ChatMapper._files,
    "audio": ChatMapper._audio_piece,
    "tool_calls": ChatMapper._tool_calls,
    "function_call": ChatMapper._function_call,
    "annotations": ChatMapper._sources,
    "citations": ChatMapper._sources,
    LITELLM: ChatMapper._litellm,
}
_EVENT_PLUMBING: Final = frozenset({"type", "sequence_number", "event_id", "id", "created"})
_ORDER: Final = {name: place for place, name in enumerate((*SAID, *_EFFECTS))}


def _rank(name: str) -> int:
    return _ORDER.get(name, len(_ORDER))
