"""Records the streams of `generate_content_stream` while they pass through."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Final

from monostream_ai._writing.publisher import Publisher
from monostream_ai.errors import InvalidArgument
from monostream_ai.recording.capture import Capture, consume_stream, record
from monostream_ai.recording.fields import get, get_list, get_text
from monostream_ai.recording.message import Recording
from monostream_ai.recording.model_output import ModelOutput
from monostream_ai.recording.streams import E, Stream
from monostream_ai.recording.sync_capture import SyncCapture, record_sync
from monostream_ai.threads import SyncPublisher
from monostream_ai.ui_messages import Chunk, to_json_value
from monostream_ai.ui_messages.browser_safety import is_link
from monostream_ai.ui_messages.file_hook import Files
from monostream_ai.ui_messages.model_output import StreamedCall
from monostream_ai.ui_messages.texts import REFUSED_TEXT, finish_reason_of
from monostream_ai.ui_messages.unread import Unread

_ANY_BYTES: Final = "application/octet-stream"
CODE: Final = "code_execution"
_COUNTS: Final = {
    "totalTokens": ("total_token_count",),
    "inputTokens": ("prompt_token_count", "tool_use_prompt_token_count"),
    "outputTokens": ("candidates_token_count", "thoughts_token_count"),
    "cachedInputTokens": ("cached_content_token_count",),
    "reasoningTokens": ("thoughts_token_count",),
}
"""Names of `LanguageModelUsage`, and the counts of the API that each sums up."""


def capture(stream: Stream[E], pub: Publisher[Chunk], *, files: Files | None = None) -> Capture[E]:
    """Iterate over the chunks of an answer, and record them to an open publisher.

        async for chunk in capture(await client.aio.models.generate_content_stream(...), pub): ...

    Several streams, one after another, make one message. A call without an id of its own is
    `call-1`, `call-2` and so on, in the order of the message.

    Args:
        stream: The result of `generate_content_stream`, from the async or the sync client.
        files: As for `record`.

    Raises:
        TypeError: `stream` is no stream, or `pub` is no publisher.
        InvalidArgument (from `anext`): A chunk is not one of `generate_content_stream`.
    """
    return record(stream, pub, GeminiMapper, files=files)


async def consume(stream: Stream[E], pub: Publisher[Chunk], *, files: Files | None = None) -> None:
    """Record a stream to its end, and return when it is durable; otherwise like `capture`."""
    await consume_stream(stream, pub, GeminiMapper, files=files)


def capture_sync(
    stream: Stream[E], pub: SyncPublisher, *, files: Files | None = None
) -> SyncCapture[E]:
    """Iterate over the chunks of an answer, and record them to a `SyncPublisher`.

    Arguments and errors are those of `capture`.

    Raises:
        PublisherClosed: The publisher's `with` block has not begun, or has ended.
    """
    return record_sync(stream, pub, GeminiMapper, files=files)


class GeminiMapper:
    """Maps one answer after another; of several candidates it shows the first.

    An answer is complete once its candidate has a finish reason, or its prompt was blocked. The
    SDK may call functions itself and go on with another answer in the same stream.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._builder = recording.builder
        self._unread = Unread(recording.builder, "google-genai")
        self.output = ModelOutput(recording)
        self._begun = False
        self._thinks: bool | None = None
        self._signature = ""
        self._code: str | None = None

    def feed(self, event: Any) -> list[Chunk]:
        if isinstance(event, Mapping) or not hasattr(event, "candidates"):
            raise InvalidArgument(
                f"{type(event).__name__} is no GenerateContentResponse: "
                "capture the result of generate_content_stream"
            )
        chunks: list[Chunk] = []
        for content in get_list(event, "automatic_function_calling_history"):
            for part in get_list(content, "parts"):
                if response := get(part, "function_response"):
                    chunks += self._function_result(response)
        candidate = next((each for each in get_list(event, "candidates") if not each.index), None)
        parts = get_list(candidate, "content", "parts")
        if self.output.complete and parts:
            self.output, self._begun = ModelOutput(self._recording), False
        if not self._begun:
            chunks, self._begun = [*chunks, *self._builder.start_step()], True
        for part in parts:
            chunks += self._part(part)
        chunks += self._sources(candidate)
        chunks += self.output.use(_usage_of(get(event, "usage_metadata")))
        return [*chunks, *self._ending(event, candidate)]

    def _part(self, part: Any) -> list[Chunk]:
        thinks, text = get(part, "thought") is True, get_text(part, "text")
        signature = get(part, "thought_signature")
        signed = base64.b64encode(signature).decode() if isinstance(signature, bytes) else ""
        if call := get(part, "function_call"):
            return [*self._end(), *self._call(call, signed)]
        if text or (signed and get(part, "text") is not None):
            chunks = self._end() if self._thinks is not thinks else []
            self._thinks, self._signature = thinks, signed or self._signature
            say = self.output.speech.reasoning if thinks else self.output.speech.text
            return [*chunks, *say(None, text)]
        return [*self._end(), *self._other(part, thinks, signed)]

    def _other(self, part: Any, thinks: bool, signed: str) -> list[Chunk]:
        if data := get(part, "inline_data"):
            content = base64.b64encode(get(data, "data") or b"").decode()
            media_type = get_text(data, "mime_type") or _ANY_BYTES
            send = self._builder.reasoning_file if thinks else self._builder.file
            return send(f"data:{media_type};base64,{content}", media_type=media_type)
        if is_link(get_text(part, "file_data", "file_uri")):
            url, media_type = (
                get_text(part, "file_data", "file_uri"),
                get(part, "file_data").mime_type,
            )
            return self._builder.file(url, media_type=media_type or _ANY_BYTES)
        if code := get(part, "executable_code"):
            call = StreamedCall(get_text(code, "id") or None, CODE, provider_executed=True)
            chunks = self.output.call_with(call, _json(code, "language", "code"))
            self._code = call.published
            return _signed(chunks, signed)
        if (result := get(part, "code_execution_result")) and self._code is not None:
            published, self._code = self._code, None
            return self._builder.tool_output(published, _json(result, "outcome", "output"))
        response = get(part, "function_response")
        if response and (chunks := self._function_result(response)):
            return chunks
        given = part.model_dump(mode="json", exclude_none=True)
        return self._unread.keep("+".join(given), given) if given else []

    def _call(self, given: Any, signature: str) -> list[Chunk]:
        call = StreamedCall(get_text(given, "id") or None, get_text(given, "name") or "unknown")
        if get_list(given, "partial_args") or get(given, "will_continue"):
            return self._unread.keep(
                "partial_args", given.model_dump(mode="json", exclude_none=True)
            )
        return _signed(self.output.call_with(call, get(given, "args") or {}), signature)

    def _function_result(self, response: Any) -> list[Chunk]:
        """Show a result of a function that the SDK called; those of earlier turns have no call."""
        call_id, name = get_text(response, "id"), get_text(response, "name")
        published = self._recording.calls.find_unanswered(call_id)
        if published is None and not call_id:
            published = self._recording.calls.find_by_name(name)
        if published is None:
            return []
        return self._builder.tool_output(published, to_json_value(get(response, "response")))

    def _end(self) -> list[Chunk]:
        signature, self._signature = self._signature, ""
        self._thinks = None
        chunks = self.output.speech.end()
        if signature and not chunks:
            # A signature may come alone, and the API wants it back all the same.
            chunks = self.output.speech.end_reasoning()
        return _signed(chunks, signature)

    def _sources(self, candidate: Any) -> list[Chunk]:
        chunks: list[Chunk] = []
        for found in get_list(candidate, "grounding_metadata", "grounding_chunks"):
            for kind in ("web", "maps", "retrieved_context", "image"):
                chunks += self._source(get(found, kind))
        for cited in get_list(candidate, "citation_metadata", "citations"):
            chunks += self._source(cited)
        return chunks

    def _source(self, source: Any) -> list[Chunk]:
        uri = get_text(source, "uri") or get_text(source, "source_uri")
        title = get_text(source, "title")
        if is_link(uri):
            return self._recording.source_url(uri, title)
        name = uri or title
        return self._recording.source_document(name, media_type="text/plain", title=title or name)

    def _ending(self, event: Any, candidate: Any) -> list[Chunk]:
        if self.output.complete:
            return []
        told = {"responseId": event.response_id} if get_text(event, "response_id") else {}
        if blocked := get(event, "prompt_feedback", "block_reason"):
            why = get_text(event, "prompt_feedback", "block_reason_message") or _word(blocked)
            return [*self._refusal(why), *self.output.finish("safety", **told)]
        given = get(candidate, "finish_reason")
        if given is None:
            return []
        reason, chunks = _word(given), self._end()
        if finish_reason_of(reason) == "content-filter":
            chunks += self._refusal(get_text(candidate, "finish_message") or reason)
        elif message := get_text(candidate, "finish_message"):
            # It quotes a call that is malformed, for one.
            chunks += self._unread.keep("finish_message", message)
        return [*chunks, *self.output.finish(reason, **told)]

    def _refusal(self, why: str) -> list[Chunk]:
        return [*self._end(), *self.output.refusal("refusal", f"{REFUSED_TEXT} ({why})")]


def _usage_of(usage: Any) -> dict[str, int]:
    sums = {name: sum(get(usage, key) or 0 for key in keys) for name, keys in _COUNTS.items()}
    return {name: count for name, count in sums.items() if count}


def _word(enum: Any) -> str:
    return str(getattr(enum, "value", enum))


def _json(value: Any, *names: str) -> dict[str, Any]:
    found = {name: get(value, name) for name in names}
    return {name: _word(each) for name, each in found.items() if each is not None}


def _signed(chunks: list[Chunk], signature: str) -> list[Chunk]:
    if not signature or not chunks:
        return chunks
    *before, last = chunks
    metadata = {"google": {"thoughtSignature": signature}}
    return [*before, {**last, "providerMetadata": metadata}]
