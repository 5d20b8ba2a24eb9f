"""Turns chunks of chat completions, and of the older completions, into UI message chunks.

It reads OpenAI's own chunks and those of the many servers that imitate its API.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from monostream_ai.openai.audio import audio_file
from monostream_ai.openai.chat_calls import ChatCalls
from monostream_ai.openai.content import Piece, Spoken, read_content, text_of
from monostream_ai.openai.reasoning_state import ReasoningState
from monostream_ai.openai.remains import Remains
from monostream_ai.openai.sources import SOURCE_FIELDS, source_of, sources_beside
from monostream_ai.openai.usage import usage_in
from monostream_ai.recording.fields import get, get_list, get_text, named_fields, present_fields
from monostream_ai.recording.message import Recording
from monostream_ai.recording.model_output import ModelOutput, ResponseFailed
from monostream_ai.ui_messages import Chunk
from monostream_ai.ui_messages.texts import REFUSED_TEXT, finish_reason_of

Fields: TypeAlias = Mapping[str, Any]

_REASON_KEYS: Final = ("finish_reason", "finishReason", "stop_reason", "stopReason", "done_reason")
_BESIDE: Final = frozenset({*_REASON_KEYS, *SOURCE_FIELDS, "usage", "x_groq", "error"})
"""Fields of a chunk or a choice that are read, besides its deltas and messages."""

_SILENT: Final = frozenset(
    {
        "role",
        "id",
        "type",
        "name",
        "index",
        "logprobs",
        "obfuscation",
        "padding",
        "token_ids",
        "extra_content",
        "tool_call_id",
        "prefix",
        "reasoning_signature",
        "encrypted_content",
    }
)
"""Fields of a delta that hold no content, or are read with another field."""


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
        self._calls = ChatCalls(recording, self.output, self._remains)
        self._state = ReasoningState()
        self._audio: list[str] = []
        self._said: dict[Spoken, list[str]] = {"text": [], "reasoning": [], "refusal": []}
        self._in_messages = False
        """Whether the content so far came as messages in place of deltas."""
        self._in_message = False

    def feed(self, chunk: Any) -> list[Chunk]:
        fields = present_fields(chunk)
        given = get_list(fields, "choices")
        choices = [choice for each in given if not (choice := present_fields(each)).get("index")]
        chunks = [] if self._begun else self._recording.builder.start_step()
        self._begun = True
        if len(choices) < len(given):
            self._unread.lose("a choice besides the first")
        for choice in choices:
            chunks += self._choice(choice)
        if self.output.complete or any(map(_has_more, (fields, *choices))):
            chunks += self._beside(fields, choices)
        return chunks

    def _beside(self, chunk: Fields, choices: Sequence[Fields]) -> list[Chunk]:
        """Read sources, usage, errors and the finish reason of a chunk or its choices."""
        chunks: list[Chunk] = []
        for holder in (chunk, *choices):
            chunks += sources_beside(self._recording, self._unread, holder)
        if counts := usage_in(chunk, get(chunk, "x_groq"), *choices):
            chunks += self.output.use(counts)
        if error := _error_in(chunk, choices):
            return [*chunks, *self.output.fail(error)]
        reason = next((word for each in (*choices[:1], chunk) if (word := _reason_in(each))), "")
        if reason and not self.output.complete:
            chunks += self._finish(reason)
        elif self.output.complete:
            chunks += self._remains.keep()
        return chunks

    def _choice(self, choice: Fields) -> list[Chunk]:
        chunks = self._delta(choice["delta"]) if "delta" in choice else []
        if "message" in choice:
            chunks += self._message(choice["message"], whole=bool(_reason_in(choice)))
        # The older completions API sends the text itself.
        return [*chunks, *self._delta({"content": choice["text"]})] if "text" in choice else chunks

    def _delta(self, delta: Any) -> list[Chunk]:
        fields = _fields_of_delta(delta)
        self._state.read(fields)
        chunks: list[Chunk] = []
        for name in sorted(fields, key=_rank) if len(fields) > 1 else fields:
            value = fields[name]
            if value == "" or name in _SILENT:
                continue
            if name in _REASONING:
                chunks += self._reasoning(name, value, fields)
            elif name in ("content", "refusal"):
                chunks += self._content(value, _kind_of(name, fields))
            elif (effect := _EFFECTS.get(name)) is not None:
                chunks += effect(self, value)
            else:
                self._remains.add(f"delta.{name}", value)
        return chunks

    def _reasoning(self, name: str, value: Any, fields: Mapping[str, Any]) -> list[Chunk]:
        # Some servers send a thought under two names.
        text = text_of(value)
        before = _REASONING[: _REASONING.index(name)]
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
        fields = dict(_fields_of_delta(message))
        said_before = any(self._said.values())
        deltas_before = said_before and not self._in_messages
        if not said_before:
            self._state.read(fields)
        chunks: list[Chunk] = []
        texts, others = _content_in(fields)
        for kind, text in texts.items():
            if news := self._news(kind, text, whole or deltas_before, deltas_before):
                chunks += self._say(kind, news)
        self._in_messages = not deltas_before
        self._in_message = self._calls.in_message = True
        chunks += [chunk for piece in others for chunk in self._piece(piece)]
        chunks += self._delta({key: fields[key] for key in fields if key not in _SAID})
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
        # The other fields repeat those of the delta.
        cited = get(value, "citation") or get(value, "citations")
        return self._sources(cited) if cited else []

    def _finish(self, reason: str) -> list[Chunk]:
        chunks = [*self._state.end(self.output.speech), *self.output.speech.end()]
        chunks += self._calls.end()
        if not any(self._said.values()) and finish_reason_of(reason) == "content-filter":
            chunks += self.output.refusal("refusal", REFUSED_TEXT)
        chunks += [*self._heard(), *self.output.speech.end(), *self._remains.keep()]
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
        return [*ended, *self._calls.announce(), *self._heard(), *self._remains.keep()]


_REASONING: Final = (
    "reasoning_content",
    "reasoning",
    "reasoning_text",
    "thinking",
    "thinking_blocks",
    "reasoning_details",
)
"""Fields with the thoughts of a model: of DeepSeek, vLLM, Ollama, LiteLLM and OpenRouter."""

_EFFECTS: Final[Mapping[str, Callable[[ChatMapper, Any], list[Chunk]]]] = {
    "images": ChatMapper._files,
    "audio": ChatMapper._audio_piece,
    "tool_calls": ChatMapper._tool_calls,
    "function_call": ChatMapper._function_call,
    "annotations": ChatMapper._sources,
    "citations": ChatMapper._sources,
    "provider_specific_fields": ChatMapper._litellm,
}
_ORDER: Final = {
    name: place for place, name in enumerate((*_REASONING, "content", "refusal", *_EFFECTS))
}


_SAID: Final = (*_REASONING, "content", "refusal")
"""Fields of a delta or a message with texts, in the order of the message."""


def _has_more(holder: Fields) -> bool:
    """Whether a chunk or a choice has something besides its delta."""
    return not _BESIDE.isdisjoint(holder) or holder.get("object") == "error"


def _fields_of_delta(delta: Any) -> Fields:
    if isinstance(delta, Mapping) or hasattr(delta, "__dict__"):
        return present_fields(delta)
    return {"content": delta}


def _kind_of(name: str, fields: Fields) -> Spoken:
    """Return the kind of a text in this field of a delta or a message."""
    if name == "refusal":
        return "refusal"
    thinks = "extra_content" in fields and get(fields, "extra_content", "google", "thought") is True
    return "reasoning" if thinks or name != "content" else "text"


def _content_in(fields: Fields) -> tuple[dict[Spoken, str], list[Piece]]:
    """Return the whole text of each kind in a message, and its other pieces of content."""
    texts: dict[Spoken, str] = {}
    others: list[Piece] = []
    for name in _SAID:
        said: dict[Spoken, str] = {}
        for piece in read_content(fields.get(name), _kind_of(name, fields)):
            if piece.kind in ("text", "reasoning", "refusal"):
                said[piece.kind] = said.get(piece.kind, "") + piece.value
            else:
                others.append(piece)
        for kind, text in said.items():
            # Some servers send a thought under two names.
            texts[kind] = text if texts.get(kind) == text else texts.get(kind, "") + text
    return texts, others


def _rank(name: str) -> int:
    return _ORDER.get(name, len(_ORDER))


def _reason_in(holder: Any) -> str:
    """Return the finish reason, under any of the names that vendors have for it."""
    return next((word for key in _REASON_KEYS if (word := get_text(holder, key))), "")


def _error_in(chunk: Fields, choices: Sequence[Fields]) -> ResponseFailed | None:
    error = next((each for holder in (chunk, *choices) if (each := get(holder, "error"))), None)
    if error is None and get(chunk, "object") == "error":
        error = chunk
    if error is None:
        return None
    code = str(get(error, "code") or get(error, "type") or "") or None
    message = error if isinstance(error, str) else get_text(error, "message")
    return ResponseFailed(code, message)
