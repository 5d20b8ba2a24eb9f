"""Builds the chunks of one message in an order that every client accepts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from monostream_ai.errors import InvalidChunk
from monostream_ai.ui_messages.chunks import Chunk, check_chunk
from monostream_ai.ui_messages.message_chunks import chunks_of_message
from monostream_ai.ui_messages.open_parts import Call, OpenParts, PartKind, stop_mark


class UIMessageBuilder:
    """Builds one message: each method returns the chunks to write, including any needed before.

    `start` comes once, at the beginning. Text, reasoning and tool calls open a step if none is
    open, since `sendAutomaticallyWhen` may send a message without steps again, without end. Open
    parts are closed before their step ends. All chunks of a call carry the same `dynamic`.

    Raises (from all methods except `end_text` and `end_reasoning`, which return an empty list if
    no such part is open):
        InvalidChunk: The chunk would break the client: a result for a call that this message does
            not have, a second input for a call, anything after the end of the message, or a value
            that `check_chunk` refuses. The builder is unchanged then.

    Args:
        message_id: The id of the message in the client and in the history, sent with `start`.
        metadata: An object to merge into the message's metadata, sent with `start`.
        send_start: False if `start` is written elsewhere.
    """

    def __init__(
        self, *, message_id: str | None = None, metadata: Any = None, send_start: bool = True
    ) -> None:
        _check_metadata(metadata)
        self._start = check_chunk(
            _chunk("start", optional={"messageId": message_id, "messageMetadata": metadata})
        )
        self._open = OpenParts()
        self._open.started = not send_start
        self._step_begun = False
        self._noted: list[Chunk] | None = None

    def __repr__(self) -> str:
        message_id = self._start.get("messageId")
        state = "ended" if self._open.ended else "started" if self._open.started else "new"
        return (
            f"<UIMessageBuilder {message_id!r} {state}, "
            f"{len(self._open.parts)} open parts, {len(self._open.calls)} calls>"
        )

    @property
    def step_open(self) -> bool:
        return self._open.step_open

    @property
    def step_empty(self) -> bool:
        """Whether the open step shows nothing yet."""
        return self._open.step_empty

    def call(self, call_id: str) -> Call | None:
        """Return a tool call of this message, or None if it has no call with this id."""
        return self._open.calls.get(call_id)

    def is_asked_about(self, call_id: str) -> bool:
        """Whether the user was asked about a call and has not decided."""
        return call_id in self._open.approvals.values()

    def is_open(self, kind: PartKind, part_id: str) -> bool:
        """Whether a text or reasoning part has begun and has not ended."""
        return (kind, part_id) in self._open.parts

    def note_anew(self) -> list[Chunk]:
        """Return a list that gets all chunks from now on, except deltas of parts that are open.

        With it, a caller whose own chunks are lost can send those that the builder counts as sent.
        """
        self._noted = []
        return self._noted

    def adopt(self, message: Mapping[str, Any]) -> list[Chunk]:
        """Let the calls of an assistant message be answered here, which this message continues.

        The message may come from a client, so malformed parts are ignored.

        Returns:
            The chunks of its calls, which are not to be sent again.
        """
        parts = message.get("parts")
        chunks = chunks_of_message({"parts": parts if isinstance(parts, list) else []})
        calls = [chunk for chunk in chunks if "toolCallId" in chunk]
        self._open.adopt(calls)
        return calls

    def take_up(self, chunks: Iterable[Chunk]) -> None:
        """Go on with a message whose first chunks are stored, as those of a lost publisher are.

        Open parts stay open: a delta of the same id is appended, `finish_step` ends them all. A
        last step that is open and empty is the next one to begin.
        """
        for chunk in chunks:
            self._open.feed(chunk)
        self._step_begun = self._open.step_empty

    def _follow(self, chunks: Iterable[Chunk]) -> None:
        """Take note of chunks that somebody else has written to this message meanwhile.

        A part that they have begun stays theirs to end, and their result of a call may be replaced.
        A step that they have begun, and that is empty, is the next one to begin.
        """
        for chunk in chunks:
            self._open.follow(chunk)
        self._step_begun = self._open.step_empty

    def start(self) -> list[Chunk]:
        """Return `start` unless it was sent. Every other method sends it first if needed."""
        if self._open.ended:
            raise InvalidChunk("$", "the message has ended")
        return [] if self._open.started else self._note([self._start])

    def start_step(self) -> list[Chunk]:
        """Begin a step: one call of a model, and the results of the tools it calls.

        An open step is finished first.
        """
        begun, self._step_begun = self._step_begun, False
        if begun and self._open.step_empty:
            return self.start()
        return [*self.start(), *self.finish_step(), *self._note([{"type": "start-step"}])]

    def finish_step(self) -> list[Chunk]:
        """Close all parts and the step. Tool inputs that are not complete become errors."""
        return self._note(self._open.closing())

    def text(self, part_id: str, delta: str) -> list[Chunk]:
        """Append to a text, which begins with its first delta.

        Once a text has ended, its id may be used for another one.
        """
        return self._delta("text", part_id, delta)

    def end_text(self, part_id: str) -> list[Chunk]:
        return self._end("text", part_id)

    def reasoning(self, part_id: str, delta: str) -> list[Chunk]:
        """Append to a reasoning part, which begins with its first delta."""
        return self._delta("reasoning", part_id, delta)

    def end_reasoning(self, part_id: str) -> list[Chunk]:
        return self._end("reasoning", part_id)

    def tool_input(
        self,
        call_id: str,
        name: str,
        delta: str = "",
        *,
        dynamic: bool = True,
        provider_executed: bool = False,
    ) -> list[Chunk]:
        """Append JSON text to the input of a call; an empty delta only announces the call.

        `dynamic` and `provider_executed` count when the call begins, and are ignored later.

        Args:
            dynamic: Whether the client shows a `dynamic-tool` part instead of `tool-<name>`.
            provider_executed: The model's provider runs the tool, so the client must not.
        """
        more: Chunk = {"type": "tool-input-delta", "toolCallId": call_id, "inputTextDelta": delta}
        call = self._open.calls.get(call_id)
        if call is not None and call.state == "streaming" and isinstance(delta, str):
            call.extend(delta)
            return [more] if delta else []
        keys = self._call_keys(call_id, name, dynamic, provider_executed)
        check_chunk(more)
        start = self._send({"type": "tool-input-start", **keys, "toolName": name}, in_step=True)
        self._open.feed(more)
        return [*start, more] if delta else start

    def tool_call(
        self,
        call_id: str,
        name: str,
        input: Any,
        *,
        dynamic: bool = True,
        provider_executed: bool = False,
    ) -> list[Chunk]:
        """Send the complete input of a call, whether or not it was streamed before."""
        keys = self._call_keys(call_id, name, dynamic, provider_executed)
        return self._send(
            {"type": "tool-input-available", **keys, "toolName": name, "input": input}, in_step=True
        )

    def tool_input_error(
        self,
        call_id: str,
        name: str,
        input: Any,
        error_text: str,
        *,
        dynamic: bool = True,
        provider_executed: bool = False,
    ) -> list[Chunk]:
        """Report that the input of a call is unusable; the call gets no result.

        Args:
            input: The part of the input that is known, or None.
        """
        keys = self._call_keys(call_id, name, dynamic, provider_executed)
        chunk: Chunk = {
            "type": "tool-input-error",
            **keys,
            "toolName": name,
            "input": input,
            "errorText": error_text,
        }
        return self._send(chunk, in_step=True)

    def tool_output(self, call_id: str, output: Any, *, preliminary: bool = False) -> list[Chunk]:
        """Send the result of a call. A preliminary result is replaced by the next one."""
        keys = self._result_keys(call_id)
        optional = {"preliminary": preliminary or None}
        return self._send(_chunk("tool-output-available", {**keys, "output": output}, optional))

    def tool_error(self, call_id: str, error_text: str) -> list[Chunk]:
        """Report that the tool failed. A later result of the call, from a retry, replaces this."""
        keys = self._result_keys(call_id)
        return self._send({"type": "tool-output-error", **keys, "errorText": error_text})

    def approval_request(
        self, call_id: str, approval_id: str, *, reason: str | None = None
    ) -> list[Chunk]:
        """Ask the user whether a call may run. Its input must be complete.

        Clients of `ai` 5 do not get the question.
        """
        self._check_waiting(call_id)
        if approval_id in self._open.approvals:
            raise InvalidChunk("$.approvalId", f"approval {approval_id!r} was already requested")
        required = {"approvalId": approval_id, "toolCallId": call_id}
        return self._send(_chunk("tool-approval-request", required, {"reason": reason}))

    def approval_response(
        self, approval_id: str, approved: bool, *, reason: str | None = None
    ) -> list[Chunk]:
        """Send the user's answer. Next comes the result of an approved call, or `tool_denied`."""
        call_id = self._open.approvals.get(approval_id)
        if call_id is None:
            raise InvalidChunk("$.approvalId", f"no call waits for approval {approval_id!r}")
        self._check_waiting(call_id)
        required = {"approvalId": approval_id, "approved": approved}
        return self._send(_chunk("tool-approval-response", required, {"reason": reason}))

    def tool_denied(self, call_id: str) -> list[Chunk]:
        """Report that a call does not run because the user denied it. It gets no result."""
        self._check_waiting(call_id)
        return self._send({"type": "tool-output-denied", "toolCallId": call_id})

    def reset_step(self) -> list[Chunk]:
        """Remove the parts and calls of the open step, for instance before another attempt.

        Returns nothing if no step is open. Clients below 7.0.70 keep showing the removed parts.
        """
        if not self._open.step_open:
            return []
        return self._note([*self._open.closing()[:-1], {"type": "reset-step"}])

    def data(
        self, name: str, data: Any, *, data_id: str | None = None, transient: bool = False
    ) -> list[Chunk]:
        """Send a `data-<name>` part.

        Args:
            data_id: A later chunk with the same name and id replaces the data.
            transient: The client gets the data once, and does not keep it in the message.
        """
        if not isinstance(name, str) or not name:
            raise InvalidChunk("$.type", f"the name of a data part is {name!r:.100}: use a text")
        optional = {"id": data_id, "transient": transient or None}
        return self._send(_chunk(f"data-{name}", {"data": data}, optional))

    def source_url(self, source_id: str, url: str, *, title: str | None = None) -> list[Chunk]:
        return self._send(
            _chunk("source-url", {"sourceId": source_id, "url": url}, {"title": title})
        )

    def source_document(
        self, source_id: str, *, media_type: str, title: str, filename: str | None = None
    ) -> list[Chunk]:
        required = {"sourceId": source_id, "mediaType": media_type, "title": title}
        return self._send(_chunk("source-document", required, {"filename": filename}))

    def file(self, url: str, *, media_type: str) -> list[Chunk]:
        """Send a file; `url` is an http or data URL."""
        return self._send({"type": "file", "url": url, "mediaType": media_type})

    def reasoning_file(self, url: str, *, media_type: str) -> list[Chunk]:
        """Send a file that is part of the reasoning. Clients below `ai` 7 do not get it."""
        return self._send({"type": "reasoning-file", "url": url, "mediaType": media_type})

    def custom(self, kind: str) -> list[Chunk]:
        """Send a part of a provider's own kind, such as `provider.kind`.

        Clients below `ai` 7 do not get it.
        """
        return self._send({"type": "custom", "kind": kind})

    def metadata(self, metadata: Any) -> list[Chunk]:
        """Merge an object into the metadata of the message, deeply."""
        _check_metadata(metadata)
        return self._send({"type": "message-metadata", "messageMetadata": metadata})

    def chunk(self, chunk: Chunk) -> list[Chunk]:
        """Send a chunk that was made elsewhere, of any type that neither begins nor ends a message.

        Its order is not checked, except that nothing may follow the end.
        """
        if check_chunk(chunk)["type"] in ("start", "finish", "error", "abort"):
            raise InvalidChunk("$.type", f"{chunk['type']!r} has a method of its own")
        return self._send(chunk)

    def finish(self, reason: str | None = None, *, metadata: Any = None) -> list[Chunk]:
        """End the message as complete.

        Without a reason, uses the last one that `metadata` gave under `finishReason`, else `stop`.
        """
        _check_metadata(metadata)
        optional = {
            "finishReason": reason or self._open.finish_reason or "stop",
            "messageMetadata": metadata,
        }
        return self._last(_chunk("finish", optional=optional), sealed=True)

    def error(self, error_text: str) -> list[Chunk]:
        """End the message as failed. The text is shown to the user."""
        return self._last({"type": "error", "errorText": error_text})

    def abort(self, reason: str | None = None) -> list[Chunk]:
        """End the message as stopped. Clients below 6.0.15 refuse a reason."""
        return self._last(*stop_mark(), _chunk("abort", optional={"reason": reason}))

    def _delta(self, kind: PartKind, part_id: str, delta: str) -> list[Chunk]:
        chunk: Chunk = {"type": f"{kind}-delta", "id": part_id, "delta": delta}
        if (kind, part_id) in self._open.parts and isinstance(delta, str):
            return [chunk]
        check_chunk(chunk)
        return [*self._send({"type": f"{kind}-start", "id": part_id}, in_step=True), chunk]

    def _end(self, kind: PartKind, part_id: str) -> list[Chunk]:
        return (
            self._note([{"type": f"{kind}-end", "id": part_id}])
            if (kind, part_id) in self._open.parts
            else []
        )

    def _call_keys(self, call_id: str, name: str, dynamic: bool, provider_executed: bool) -> Chunk:
        call = self._open.calls.get(call_id) or Call(name, dynamic, provider_executed)
        if call.state != "streaming":
            raise InvalidChunk("$.toolCallId", f"call {call_id!r} already has its input")
        return call.keys(call_id)

    def _result_keys(self, call_id: str) -> Chunk:
        call = self._open.calls.get(call_id)
        if call is None:
            raise InvalidChunk(
                "$.toolCallId", f"this message has no call {call_id!r}: send its input first"
            )
        if call.state == "done":
            raise InvalidChunk("$.toolCallId", f"call {call_id!r} already has its result")
        return call.keys(call_id)

    def _check_waiting(self, call_id: str) -> None:
        call = self._open.calls.get(call_id)
        if call is None or call.state != "called" or call.running:
            raise InvalidChunk("$.toolCallId", f"call {call_id!r} is not waiting for a result")

    def _last(self, *chunks: Chunk, sealed: bool = False) -> list[Chunk]:
        for chunk in chunks:
            check_chunk(chunk)
        closed = [*self.start(), *self.finish_step()]
        return [*closed, *self._note([*(self._open.seal() if sealed else []), *chunks])]

    def _send(self, chunk: Chunk, *, in_step: bool = False) -> list[Chunk]:
        # Check first: a refused chunk must not leave a step open that was never sent.
        check_chunk(chunk)
        before = self.start_step() if in_step and not self._open.step_open else self.start()
        return [*before, *self._note([chunk])]

    def _note(self, chunks: list[Chunk]) -> list[Chunk]:
        for chunk in chunks:
            self._open.feed(chunk)
        if self._noted is not None:
            self._noted += chunks
        return chunks


def _check_metadata(metadata: Any) -> None:
    # The schema takes any value, but a client throws when it merges a value that is no object.
    if metadata is not None and not isinstance(metadata, dict):
        raise InvalidChunk("$.messageMetadata", f"{metadata!r:.100} is not an object")


def _chunk(kind: str, required: Chunk | None = None, optional: Chunk | None = None) -> Chunk:
    present = {key: value for key, value in (optional or {}).items() if value is not None}
    return {"type": kind, **(required or {}), **present}
