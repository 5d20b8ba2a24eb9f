"""Records the streams of `generate_content_stream` while they pass through."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any, Final

from monostream_ai._writing.publisher import Publisher
from monostream_ai.errors import InvalidArgument
from monostream_ai.google_genai.partial_args import PartialCall, begins_in_pieces
from monostream_ai.recording.capture import Capture, consume_stream, record
from monostream_ai.recording.fields import get, get_list, get_text, present_fields
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

_ANY_BYTES: Final = "application/octet-stream"
CODE: Final = "code_execution"
_RETRIEVED: Final = "URL_RETRIEVAL_STATUS_SUCCESS"
SERVER_TOOL: Final = "server:"
"""Begins the name of a tool that Gemini's server runs, as in the AI SDK: `server:URL_CONTEXT`."""

_BESIDE: Final = frozenset({"thought", "thought_signature"})
"""Fields of a part that say something about its content."""

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
        self._unread = recording.unread("google-genai")
        self._partial: PartialCall | None = None
        self._begin()
        self._thinks: bool | None = None
        self._signature = ""

    def _begin(self) -> None:
        self._waiting: dict[str, list[str]] = {CODE: [], SERVER_TOOL: []}
        """The calls of each kind that Gemini's server runs, for results that name none."""
        self.output = ModelOutput(self._recording)
        self.output.leftovers = self._unfinished_call
        self._begun = self._called = False
        self._response_id = ""

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
        candidates = get_list(event, "candidates")
        candidate = next((each for each in candidates if not each.index), None)
        if len(candidates) > (candidate is not None):
            self._unread.lose("a candidate besides the first")
        parts = get_list(candidate, "content", "parts")
        if self.output.complete and parts and (chunks or self._is_another(event)):
            # A result of a function, or another id, tells that the SDK has asked once more.
            self._begin()
        if not self._begun:
            chunks, self._begun = [*chunks, *self._builder.start_step()], True
        self._response_id = get_text(event, "response_id") or self._response_id
        said = [chunk for part in parts for chunk in self._part(part)]
        if said:
            # A proxy may tell a reason with every chunk, so this is not the end either.
            self.output.complete = False
        chunks += said
        chunks += self._sources(candidate)
        chunks += self.output.use(_usage_of(get(event, "usage_metadata")))
        return [*chunks, *self._ending(event, candidate)]

    def _is_another(self, event: Any) -> bool:
        """Whether parts behind a finish reason begin another answer."""
        response_id = get_text(event, "response_id")
        if response_id and self._response_id:
            return response_id != self._response_id
        return self._called

    def _part(self, part: Any) -> list[Chunk]:
        thinks = get(part, "thought") is True
        signature = get(part, "thought_signature")
        signed = base64.b64encode(signature).decode() if isinstance(signature, bytes) else ""
        fields = {
            name: given for name, given in present_fields(part).items() if name not in _BESIDE
        }
        if not fields and not signed:
            self._unread.lose("a part without a field that the SDK knows")
        text = fields.pop("text", None if fields else "")
        chunks: list[Chunk] = []
        if text or (signed and text is not None):
            chunks += self._say(text, thinks, signed)
        for name, given in fields.items():
            chunks += self._end()
            if name == "inline_data":
                chunks += _with_state(self._file(given, thinks), signed)
            elif name == "function_call":
                chunks += self._call(given, signed) or self._pieces(part, given)
            elif effect := _EFFECTS.get(name):
                chunks += effect(self, given, signed) or self._keep(part, name)
            else:
                chunks += self._keep(part, name)
        return chunks

    def _say(self, text: str, thinks: bool, signed: str) -> list[Chunk]:
        chunks = self._end() if self._thinks is not thinks else []
        self._thinks, self._signature = thinks, signed or self._signature
        say = self.output.speech.reasoning if thinks else self.output.speech.text
        return [*chunks, *say(None, text)]

    def _keep(self, part: Any, name: str) -> list[Chunk]:
        given = part.model_dump(mode="json", exclude_none=True, include={name, *_BESIDE})
        return self._unread.keep(name, given)

    def _file(self, data: Any, thinks: bool) -> list[Chunk]:
        content = base64.b64encode(get(data, "data") or b"").decode()
        media_type = get_text(data, "mime_type") or _ANY_BYTES
        send = self._builder.reasoning_file if thinks else self._builder.file
        return send(f"data:{media_type};base64,{content}", media_type=media_type)

    def _linked_file(self, data: Any, signed: str) -> list[Chunk]:
        url = get_text(data, "file_uri")
        if not is_link(url):
            return []
        media_type = get_text(data, "mime_type") or _ANY_BYTES
        return _with_state(self._builder.file(url, media_type=media_type), signed)

    def _code(self, code: Any, signed: str) -> list[Chunk]:
        call = StreamedCall(get_text(code, "id") or None, CODE, provider_executed=True)
        chunks = self.output.call_with(call, _json(code, "language", "code"))
        self._waiting[CODE].append(call.published or "")
        return _with_state(chunks, signed)

    def _code_result(self, result: Any, signed: str) -> list[Chunk]:
        return self._server_result(CODE, result, _json(result, "outcome", "output"), signed)

    def _server_call(self, given: Any, signed: str) -> list[Chunk]:
        call_id, kind = get_text(given, "id"), _word(get(given, "tool_type") or "")
        call = StreamedCall(call_id or None, f"{SERVER_TOOL}{kind}", provider_executed=True)
        chunks = self.output.call_with(call, to_json_value(get(given, "args") or {}))
        self._waiting[SERVER_TOOL].append(call.published or "")
        told = {"serverToolCallId": call_id} if call_id else {}
        return _with_state(chunks, signed, serverToolType=kind, **told)

    def _server_response(self, given: Any, signed: str) -> list[Chunk]:
        output = to_json_value(get(given, "response") or {})
        return self._server_result(SERVER_TOOL, given, output, signed)

    def _server_result(self, kind: str, given: Any, output: Any, signed: str) -> list[Chunk]:
        """Answer the call that a result names, or else the first of its kind that waits."""
        published = self._recording.calls.find_unanswered(get_text(given, "id"))
        published = published or next(filter(self._waits, self._waiting[kind]), None)
        if published is None:
            return []
        return _with_state(self._builder.tool_output(published, output), signed)

    def _waits(self, published: str) -> bool:
        known = self._builder.call(published)
        return known is not None and known.state == "called"

    def _call(self, given: Any, signature: str) -> list[Chunk]:
        """Begin a call, whole or in pieces; nothing for a piece of one."""
        name = get_text(given, "name")
        if not name:
            return []
        self._called = True
        before = self._unfinished_call()
        call = StreamedCall(get_text(given, "id") or None, name)
        if not begins_in_pieces(given):
            called = self.output.call_with(call, get(given, "args") or {})
            return [*before, *_with_state(called, signature)]
        self._partial = PartialCall(call, signature)
        return [*before, *self.output.announce(call), *self._pieces(None, given)]

    def _pieces(self, part: Any, given: Any) -> list[Chunk]:
        """Take pieces of the call that is open; the last one does not say that it continues."""
        partial = self._partial
        if partial is None:
            return self._keep(part, "function_call")
        chunks: list[Chunk] = []
        for piece in get_list(given, "partial_args"):
            if not partial.add(piece):
                chunks += self._unread.keep("partial_args", _dumped(piece))
        if get(given, "will_continue"):
            return chunks
        self._partial = None
        called = self.output.call_with(partial.call, partial.arguments)
        return [*chunks, *_with_state(called, partial.signature)]

    def _unfinished_call(self) -> list[Chunk]:
        """Keep the arguments of a call that was cut; it becomes an error with its step."""
        partial, self._partial = self._partial, None
        if partial is None or not partial.arguments:
            return []
        return self._unread.keep("partial_args", partial.arguments)

    def _function_result(self, response: Any, signed: str = "") -> list[Chunk]:
        """Show a result of a function that the SDK called; those of earlier turns have no call."""
        call_id, name = get_text(response, "id"), get_text(response, "name")
        published = self._recording.calls.find_unanswered(call_id)
        if published is None and not call_id:
            published = self._recording.calls.find_by_name(name)
        if published is None:
            return []
        output = to_json_value(get(response, "response"))
        chunks = _with_state(self._builder.tool_output(published, output), signed)
        for part in get_list(response, "parts"):
            chunks += self._file_of_result(part)
        return chunks

    def _file_of_result(self, part: Any) -> list[Chunk]:
        data = get(part, "inline_data")
        if data is not None:
            return self._file(data, thinks=False)
        linked = self._linked_file(get(part, "file_data"), "")
        return linked or self._unread.keep("function_response", _dumped(part))

    def _end(self) -> list[Chunk]:
        signature, self._signature = self._signature, ""
        self._thinks = None
        chunks = self.output.speech.end()
        if signature and not chunks:
            # A signature may come alone, and the API wants it back all the same.
            chunks = self.output.speech.end_reasoning()
        return _with_state(chunks, signature)

    def _sources(self, candidate: Any) -> list[Chunk]:
        chunks: list[Chunk] = []
        for found in get_list(candidate, "grounding_metadata", "grounding_chunks"):
            for kind in ("web", "maps", "retrieved_context", "image"):
                chunks += self._source(get(found, kind))
        for cited in get_list(candidate, "citation_metadata", "citations"):
            chunks += self._source(cited)
        for page in get_list(candidate, "url_context_metadata", "url_metadata"):
            if _word(get(page, "url_retrieval_status")) == _RETRIEVED:
                chunks += self._recording.source_url(get_text(page, "retrieved_url"))
        return chunks

    def _source(self, source: Any) -> list[Chunk]:
        uri = get_text(source, "uri") or get_text(source, "source_uri")
        title = get_text(source, "title")
        if is_link(uri):
            return self._recording.source_url(uri, title)
        name = uri or title
        if not name and get_text(source, "text"):
            return self._unread.keep("source", _dumped(source))
        return self._recording.source_document(name, media_type="text/plain", title=title or name)

    def _ending(self, event: Any, candidate: Any) -> list[Chunk]:
        told = {"responseId": event.response_id} if get_text(event, "response_id") else {}
        # A signature may follow the reason.
        late = self._end() if self.output.complete and self._signature else []
        if not self.output.ends_with("safety"):
            return late
        if blocked := get(event, "prompt_feedback", "block_reason"):
            why = get_text(event, "prompt_feedback", "block_reason_message") or _word(blocked)
            return [*late, *self._refusal(why), *self.output.finish("safety", **told)]
        given = get(candidate, "finish_reason")
        if given is None or not self.output.ends_with(_word(given)):
            return late
        reason, chunks = _word(given), [*late, *self._end(), *self._unfinished_call()]
        if finish_reason_of(reason) == "content-filter":
            chunks += self._refusal(get_text(candidate, "finish_message") or reason)
        elif message := get_text(candidate, "finish_message"):
            # It quotes a call that is malformed, for one.
            chunks += self._unread.keep("finish_message", message)
        return [*chunks, *self.output.finish(reason, **told)]

    def _refusal(self, why: str) -> list[Chunk]:
        return [*self._end(), *self.output.refusal("refusal", f"{REFUSED_TEXT} ({why})")]


def _usage_of(usage: Any) -> dict[str, int]:
    given = present_fields(usage)
    sums = {name: sum(given.get(key) or 0 for key in keys) for name, keys in _COUNTS.items()}
    return {name: count for name, count in sums.items() if count}


def _dumped(value: Any) -> Any:
    return value.model_dump(mode="json", exclude_none=True)


def _word(enum: Any) -> str:
    return str(getattr(enum, "value", enum))


def _json(value: Any, *names: str) -> dict[str, Any]:
    found = {name: get(value, name) for name in names}
    return {name: _word(each) for name, each in found.items() if each is not None}


def _with_state(chunks: list[Chunk], signature: str, **state: str) -> list[Chunk]:
    """Put what Gemini wants back with a part on the last chunk, if there is one."""
    if signature:
        state["thoughtSignature"] = signature
    if not state or not chunks:
        return chunks
    *before, last = chunks
    return [*before, {**last, "providerMetadata": {"google": state}}]


_EFFECTS: Final[Mapping[str, Callable[[GeminiMapper, Any, str], list[Chunk]]]] = {
    "function_response": GeminiMapper._function_result,
    "file_data": GeminiMapper._linked_file,
    "executable_code": GeminiMapper._code,
    "code_execution_result": GeminiMapper._code_result,
    "tool_call": GeminiMapper._server_call,
    "tool_response": GeminiMapper._server_response,
}
