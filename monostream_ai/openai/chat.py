"""Turns chunks of chat completions, and of the older completions, into UI message chunks.

It reads OpenAI's own chunks and those of the many servers that imitate its API.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from monostream_ai.openai.audio import audio_file
from monostream_ai.openai.chat_calls import ChatCalls
from monostream_ai.openai.content import Piece, Spoken, read_content, text_of
from monostream_ai.openai.reasoning_state import ReasoningState
from monostream_ai.openai.remains import Remains
from monostream_ai.openai.sources import source_of, sources_beside
from monostream_ai.openai.usage import usage_in
from monostream_ai.recording.fields import get, get_list, get_text, named_fields
from monostream_ai.recording.message import Recording
from monostream_ai.recording.model_output import ModelOutput, ResponseFailed
from monostream_ai.ui_messages import Chunk
from monostream_ai.ui_messages.texts import REFUSED_TEXT, finish_reason_of

_REASON_KEYS: Final = ("finish_reason", "finishReason", "stop_reason", "stopReason", "done_reason")
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

    def feed(self, chunk: Any) -> list[Chunk]:
        chunks = [] if self._begun else self._recording.builder.start_step()
        self._begun = True
        given = get_list(chunk, "choices")
        choices = [choice for choice in given if not get(choice, "index")]
        if len(choices) < len(given):
            self._unread.lose("a choice besides the first")
        for choice in choices:
            chunks += self._choice(choice)
        chunks += self._beside(chunk, choices)
        if error := _error_in(chunk, choices):
            return [*chunks, *self.output.fail(error)]
        reason = next((word for each in (*choices[:1], chunk) if (word := _reason_in(each))), "")
        if reason and not self.output.complete:
            chunks += self._finish(reason)
        elif self.output.complete:
            chunks += self._remains.keep()
        return chunks

    def _beside(self, chunk: Any, choices: Any) -> list[Chunk]:
        chunks: list[Chunk] = []
        for holder in (chunk, *choices):
            chunks += sources_beside(self._recording, self._unread, holder)
        if counts := usage_in(chunk, get(chunk, "x_groq"), *choices):
            chunks += self.output.use(counts)
        return chunks

    def _choice(self, choice: Any) -> list[Chunk]:
        chunks = self._delta(get(choice, "delta"))
        if (message := get(choice, "message")) is not None:
            chunks += self._message(message, whole=bool(_reason_in(choice)))
        # The older completions API sends the text itself.
        return [*chunks, *self._delta({"content": get(choice, "text")})]

    def _delta(self, delta: Any) -> list[Chunk]:
        if delta is None:
            return []
        if not isinstance(delta, Mapping) and not hasattr(delta, "__dict__"):
            delta = {"content": delta}
        self._state.read(delta)
        fields = named_fields(delta)
        thinks = get(delta, "extra_content", "google", "thought") is True
        chunks: list[Chunk] = []
        for name in sorted(fields, key=_rank):
            value = fields[name]
            if value is None or value == "" or name in _SILENT:
                continue
            if name in _REASONING:
                chunks += self._reasoning(name, value, fields)
            elif name in ("content", "refusal"):
                kind: Spoken = "reasoning" if thinks else "text" if name == "content" else "refusal"
                chunks += self._content(value, kind)
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
            self._audio.append(piece.value)
            return []
        if piece.kind == "unread":
            self._remains.add("delta.content", piece.value)
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
        fields = (
            dict(named_fields(message)) if not isinstance(message, str) else {"content": message}
        )
        deltas_before = any(self._said.values()) and not self._in_messages
        for name in ("content", "refusal", *_REASONING):
            if fields.get(name):
                kind: Spoken = "text" if name == "content" else "refusal"
                kind = "reasoning" if name in _REASONING else kind
                fields[name] = self._news(kind, fields[name], whole or deltas_before, deltas_before)
        self._in_messages = not deltas_before
        self._calls.in_message = True
        chunks = self._delta(fields)
        self._calls.in_message = False
        return chunks

    def _news(self, kind: Spoken, value: Any, repeats: bool, must: bool) -> Any:
        """Return what the deltas and messages before have not said of a message's content."""
        text, said = text_of(value), "".join(self._said[kind])
        if not said or not text:
            return value
        if text.startswith(said) and (repeats or len(text) > len(said)):
            return text[len(said) :]
        if not must:
            return value
        if text not in said:
            # It is neither shown twice nor lost.
            self._remains.add(f"message that differs from its deltas: {kind}", text)
        return None

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


def _rank(name: str) -> int:
    return _ORDER.get(name, len(_ORDER))


def _reason_in(holder: Any) -> str:
    """Return the finish reason, under any of the names that vendors have for it."""
    return next((word for key in _REASON_KEYS if (word := get_text(holder, key))), "")


def _error_in(chunk: Any, choices: Any) -> ResponseFailed | None:
    error = next((each for holder in (chunk, *choices) if (each := get(holder, "error"))), None)
    if error is None and get(chunk, "object") == "error":
        error = chunk
    if error is None:
        return None
    code = str(get(error, "code") or get(error, "type") or "") or None
    message = error if isinstance(error, str) else get_text(error, "message")
    return ResponseFailed(code, message)
