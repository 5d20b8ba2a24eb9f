"""Answers a turn of a chat with an agent, wherever the answer stands.

An answer is begun when the user has decided on its calls, and when a process died in the middle of
it. Its message holds all that the next run of the agent needs: finished steps are not run again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from monostream_ai._extras import needs

with needs("pydantic-ai-slim", "pydantic-ai", by=__package__):
    from pydantic_ai.run import AgentRunResult, AgentRunResultEvent
    from pydantic_ai.ui.vercel_ai import VercelAIAdapter

from monostream_ai.json_text import encode_json
from monostream_ai.pydantic_ai.runs import SDK_VERSION, capture
from monostream_ai.recording.message import recording_of
from monostream_ai.ui_messages import Chunk, MessageReducer, UIMessage, UIMessageBuilder
from monostream_ai.ui_messages.file_hook import Files
from monostream_ai.ui_messages.texts import INCOMPLETE_INPUT_TEXT
from monostream_ai.ui_messages.tool_parts import Part, current_step, is_tool_part

if TYPE_CHECKING:
    from pydantic_ai.agent import AbstractAgent

    from monostream_ai.chats import ChatTurn

_READ: Final = (
    "text",
    "reasoning",
    "file",
    "source-url",
    "source-document",
    "step-start",
    "dynamic-tool",
)
"""Types of parts that the adapter reads, besides `tool-…` and `data-…`; it refuses any other.

Source: pydantic-ai 2.68.0, pydantic_ai/ui/vercel_ai/request_types.py.
"""

_RESULTS: Final = ("output-available", "output-error", "output-denied")


async def respond(
    agent: AbstractAgent[Any, Any],
    turn: ChatTurn,
    conversation: Sequence[UIMessage],
    *,
    files: Files | None = None,
    **options: Any,
) -> AgentRunResult[Any] | None:
    """Run an agent for a turn of the chat routes, and record it.

        async def reply(turn: ChatTurn) -> None:
            await respond(agent, turn, await history.ask(turn))

    When the user has decided on calls of tools with `requires_approval`, the approved ones run and
    the agent goes on; its `output_type` has to include `DeferredToolRequests`. While a decision is
    missing, nothing runs.

    With `on_lost="continue"` an answer whose process died goes on after its last finished step. The
    step that broke off is taken back, and the model is asked for it again. An approved call without
    a result runs again. Another call without one, in a step where other calls have theirs, fails,
    and the model may repeat it. With `on_lost="retry"` the whole answer runs again, but no approved
    call that has its result.

    Args:
        conversation: The messages of the page, with the question or the continued answer at the
            end, such as `await history.ask(turn)` or `turn.messages`. System messages are left out.
        files: As for `capture`.
        options: For `VercelAIAdapter.run_stream_native`, such as `deps=` and `usage_limits=`.

    Returns:
        The result of the run; None if there was nothing to run.

    Raises:
        TruncatedStream: As `capture`, and any error of the run.
    """
    if _has_ended(turn.written.chunks):
        return None
    results = (await turn.previous()).results
    recording, message = recording_of(turn.pub), turn.written.message
    chunks = _mended(recording.builder, message, results, anew=_began_a_step(turn.written.chunks))
    recording._push(turn.pub, chunks)
    message = _after(message, chunks)
    if any(map(_waits, current_step(message["parts"]))):
        return None
    run_input = VercelAIAdapter.build_run_input(_request(turn.chat_id, conversation, message))
    adapter = VercelAIAdapter(agent, run_input, sdk_version=SDK_VERSION)
    result = None
    async for event in capture(adapter.run_stream_native(**options), turn.pub, files=files):
        if isinstance(event, AgentRunResultEvent):
            result = event.result
    return result


def _has_ended(written: Sequence[Chunk]) -> bool:
    """Whether the run of a lost publisher came to its end, which comes with a finish reason."""
    return any("finishReason" in (chunk.get("messageMetadata") or {}) for chunk in written)


def _began_a_step(written: Sequence[Chunk]) -> bool:
    return any(chunk["type"] == "start-step" for chunk in written)


def _mended(
    builder: UIMessageBuilder, message: UIMessage, results: Mapping[str, Any], *, anew: bool
) -> list[Chunk]:
    """Return the chunks after which an agent can go on with a message.

    Args:
        results: Outputs that earlier attempts have stored, by call id.
        anew: This turn has begun the last step, so the run that asked about its calls is lost.
    """
    step = current_step(message["parts"])
    calls = [part for part in step if is_tool_part(part) and not part.get("providerExecuted")]
    if not anew:
        known = [part["toolCallId"] for part in filter(_is_decided, calls)]
        return [
            chunk
            for call_id in known
            if call_id in results
            for chunk in builder.tool_output(call_id, results[call_id])
        ]
    unanswered = [part["toolCallId"] for part in filter(_is_unanswered, calls)]
    if step and len(unanswered) == len(calls):
        return builder.chunk({"type": "reset-step"})
    return [
        chunk
        for call_id in unanswered
        for chunk in builder.tool_error(call_id, INCOMPLETE_INPUT_TEXT)
    ]


def _is_decided(part: Part) -> bool:
    """Whether the user has decided on a call that has no result yet."""
    approved = (part.get("approval") or {}).get("approved")
    return isinstance(approved, bool) and part["state"] not in _RESULTS


def _is_unanswered(part: Part) -> bool:
    """Whether a call has no result, and no question about it was asked."""
    return part["state"] in ("input-streaming", "input-available") and not _is_decided(part)


def _waits(part: Part) -> bool:
    """Whether only the page can go on: it decides on a call, or has to give it its result."""
    if not is_tool_part(part):
        return False
    asked = part["state"] == "approval-requested"
    return asked or (_is_unanswered(part) and not part.get("providerExecuted"))


def _after(message: UIMessage, chunks: Sequence[Chunk]) -> UIMessage:
    reducer = MessageReducer(message)
    for chunk in chunks:
        reducer.feed(chunk)
    return reducer.message


def _request(chat_id: str, conversation: Sequence[UIMessage], message: UIMessage) -> bytes:
    """Return the request of a page whose conversation ends with the answer as it stands."""
    last = conversation[-1:]
    asked = conversation[:-1] if last and last[0]["role"] == "assistant" else conversation
    messages = [_readable(each, _closed) for each in asked]
    if message["parts"]:
        messages.append(_readable(message, _open))
    body = {"trigger": "submit-message", "id": chat_id, "messages": messages}
    return encode_json(body).encode()


def _readable(message: UIMessage, shape: Callable[[Part], Part]) -> UIMessage:
    parts = [part for part in message["parts"] if _is_read(part["type"])]
    return {**message, "parts": [shape(part) if is_tool_part(part) else part for part in parts]}


def _is_read(kind: str) -> bool:
    return kind in _READ or kind.startswith(("tool-", "data-"))


def _closed(part: Part) -> Part:
    """Return a call of an earlier message: one that never got its result has failed."""
    if part["state"] in _RESULTS:
        return part
    kept = {key: value for key, value in part.items() if key not in ("approval", "rawInput")}
    failed = {"state": "output-error", "errorText": INCOMPLETE_INPUT_TEXT}
    return {"input": None, **kept, **failed}


def _open(part: Part) -> Part:
    """Return a call of the answer: one that the user has decided on shall run, or be denied."""
    return {**part, "state": "approval-responded"} if _is_decided(part) else part
