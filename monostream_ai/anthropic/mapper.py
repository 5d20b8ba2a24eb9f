"""Turns the events of Anthropic's messages into UI message chunks.

The shape of an event decides, so streams may come from any version of the SDK, or as plain dicts.
Source: anthropic-sdk-python 2.14.0, types/raw_message_stream_event.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from monostream_ai.anthropic.blocks import Blocks
from monostream_ai.anthropic.usage import usage_of
from monostream_ai.errors import InvalidArgument
from monostream_ai.recording.fields import get, get_index, get_list, get_text, to_json
from monostream_ai.recording.message import Recording
from monostream_ai.recording.model_output import ModelOutput, ResponseFailed
from monostream_ai.ui_messages import Chunk
from monostream_ai.ui_messages.texts import REFUSED_TEXT

_REPEATS: Final = frozenset(
    {"ping", "text", "thinking", "signature", "input_json", "citation", "compaction"}
)
"""Events without news. `messages.stream()` adds them after the events of the API."""


class AnthropicMapper:
    """Maps the events of one message after another.

    A message is complete once it has its stop reason.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._unread = recording.unread("anthropic")
        self._message_id: str | None = None
        self._begin()

    def feed(self, event: Any) -> list[Chunk]:
        kind = get_text(event, "type")
        if self.output.failure is not None or kind in _REPEATS:
            return []
        effect = _EFFECTS.get(kind)
        if effect is not None:
            return effect(self, event)
        if self._message_id is None:
            raise InvalidArgument(f"this is no stream of Anthropic: {_origin(event, kind)}")
        return self._unread.keep(kind or type(event).__name__, to_json(event))

    def _begin(self) -> None:
        self.output = ModelOutput(self._recording)
        self._blocks = Blocks(self._recording, self.output, self._unread)
        self.output.leftovers = self._blocks.cut_off
        self._usage: dict[str, Any] = {}
        self._reason = ""
        self._told: dict[str, Any] = {}

    def _started(self, event: Any) -> list[Chunk]:
        message = get(event, "message")
        message_id, running = get_text(message, "id"), self._message_id
        if running is not None and not self.output.complete:
            # A proxy may repeat the beginning. Any other message would follow half an answer.
            if message_id == running:
                return []
            reason = f"message {message_id!r} began before {running!r} had ended"
            return self.output.fail(ResponseFailed("invalid_sequence", reason))
        if running is not None:
            self._begin()
        self._message_id = message_id
        chunks = self._recording.builder.start_step()
        self._use(get(message, "usage"))
        self._reason = get_text(message, "stop_reason")
        self._told = {"responseId": message_id} if message_id else {}
        self._use_container(get(message, "container"))
        # Calls that a running program makes come with the beginning.
        for block in get_list(message, "content"):
            chunks += [*self._blocks.start(None, block), *self._blocks.end()]
        return chunks

    def _block_started(self, event: Any) -> list[Chunk]:
        return self._blocks.start(get_index(event, "index"), get(event, "content_block"))

    def _block_delta(self, event: Any) -> list[Chunk]:
        return self._blocks.delta(get_index(event, "index"), get(event, "delta"))

    def _block_stopped(self, event: Any) -> list[Chunk]:
        return self._blocks.stop(get_index(event, "index"))

    def _delta(self, event: Any) -> list[Chunk]:
        delta = get(event, "delta")
        chunks = self._use(get(event, "usage"))
        self._use_container(get(delta, "container"))
        reason = get_text(delta, "stop_reason")
        return [*chunks, *self._finish(reason, get(delta, "stop_details"))] if reason else chunks

    def _stopped(self, event: Any) -> list[Chunk]:
        return [] if self.output.complete else self._finish(self._reason, None)

    def _failed(self, event: Any) -> list[Chunk]:
        error = get(event, "error") or event
        code = get_text(error, "type") or None
        return self.output.fail(ResponseFailed(code, get_text(error, "message")))

    def _use(self, usage: Any) -> list[Chunk]:
        """Take counts that replace those before; a later event leaves some of them out."""
        given = to_json(usage)
        if isinstance(given, dict):
            self._usage |= {name: count for name, count in given.items() if count is not None}
        return self.output.use(usage_of(self._usage))

    def _use_container(self, given: Any) -> None:
        """Take the container of code execution, which the next request has to name."""
        if container_id := get_text(given, "id"):
            expires = to_json(get(given, "expires_at"))
            self._told["container"] = {"id": container_id, "expiresAt": expires}

    def _finish(self, reason: str, details: Any) -> list[Chunk]:
        if not self.output.ends_with(reason):
            return []
        chunks = self._blocks.end()
        if reason == "refusal":
            why = get_text(details, "explanation") or get_text(details, "category")
            chunks += self.output.speech.end()
            chunks += self.output.refusal(
                "refusal", f"{REFUSED_TEXT} ({why})" if why else REFUSED_TEXT
            )
        elif details:
            chunks += self._unread.keep("stop_details", to_json(details))
        return [*chunks, *self.output.finish(reason, **self._told)]


_EFFECTS: Final[Mapping[str, Callable[[AnthropicMapper, Any], list[Chunk]]]] = {
    "message_start": AnthropicMapper._started,
    "content_block_start": AnthropicMapper._block_started,
    "content_block_delta": AnthropicMapper._block_delta,
    "content_block_stop": AnthropicMapper._block_stopped,
    "message_delta": AnthropicMapper._delta,
    "message_stop": AnthropicMapper._stopped,
    "error": AnthropicMapper._failed,
}


def _origin(event: Any, kind: str) -> str:
    """Tell where an event comes from that is not Anthropic's."""
    if get(event, "choices") is not None or kind.startswith("response.") or kind == "chunk":
        return "its first event is OpenAI's, so use monostream_ai.openai.capture"
    return f"its first event is {kind!r:.80} of type {type(event).__name__}"
