"""Continues a message as its own stream has it, and not as a client claims it to be.

A page that has answered a tool call or an approval sends the whole assistant message back. Only the
answers are the page's to give: the text, the calls and the results come from the store.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile, zip_longest
from typing import Any, Final

from monostream_ai.chats.turns.finishing import finished_message
from monostream_ai.chats.turns.requests import ChatRequest, RequestRefused
from monostream_ai.errors import UnknownStream
from monostream_ai.json_text import encode_json
from monostream_ai.service import DurableStreamService
from monostream_ai.types import VersionInfo
from monostream_ai.ui_messages import UIMessage
from monostream_ai.ui_messages.tool_parts import Part, is_tool_part

UNKNOWN: Final = "This chat has no such answer. Load the conversation again."
MOVED_ON: Final = "This answer is not the latest of its chat. Load the conversation again."
GONE: Final = "This answer is no longer kept, so it cannot go on. Ask again."
NOT_ASKED: Final = "The answer does not wait for this. Load the conversation again."

RESULTS: Final = ("output-available", "output-error", "output-denied")
ANSWERED: Final = (*RESULTS, "approval-responded")


async def verified(
    service: DurableStreamService[Any], request: ChatRequest, latest: VersionInfo | None
) -> ChatRequest:
    """Return a request whose last message is no client's claim.

    A user's message is returned as it is. An assistant's message is the one that the latest version
    wrote, and the client's answers to its open calls and approvals are added.

    Raises:
        RequestRefused: 400 if the assistant's message has no id; 404 if the chat has no answer; 409
            if the latest version wrote another message or is pruned, or if the client answers
            something that is not open.
    """
    claimed = request.messages[-1]
    if claimed["role"] != "assistant":
        return request
    if request.continued_message_id is None:
        raise RequestRefused(400, "The request continues a message that has no id.")
    if latest is None:
        raise RequestRefused(404, UNKNOWN)
    if latest.message_id not in (None, request.continued_message_id):
        raise RequestRefused(409, MOVED_ON)
    written = await _written(service, latest)
    if written is None:
        raise RequestRefused(409, GONE)
    if request.continued_message_id not in (latest.message_id, written["id"]):
        raise RequestRefused(409, MOVED_ON)
    # An application's own publisher may have left the id out of its `start`.
    written["id"] = request.continued_message_id
    return request.with_last(with_answers(written, claimed))


async def _written(service: DurableStreamService[Any], version: VersionInfo) -> UIMessage | None:
    request = await ChatRequest.stored_with(service, version)
    try:
        message, last = await finished_message(service, version, request)
    except UnknownStream:
        return None
    if last is None:
        return None
    metadata = message.get("metadata")
    if isinstance(metadata, dict) and "failed" in metadata:
        # The turn that goes on has not failed, even if this one did.
        del message["metadata"]
        kept = {key: value for key, value in metadata.items() if key != "failed"}
        return {**message, "metadata": kept} if kept else message
    return message


def with_answers(written: UIMessage, claimed: Mapping[str, Any]) -> UIMessage:
    """Return the written message with the answers that a client's copy of it holds.

    Raises:
        RequestRefused: 409 if the copy has a result or a decision that was not asked for, or was
            given before.
    """
    parts: list[Part] = [dict(part) for part in written["parts"]]
    calls, claims = _by_call(parts), _by_call(claimed["parts"])
    for call_id, given in claims.items():
        if call_id not in calls and all(claim["state"] in RESULTS for claim in given):
            # Pages that do not read `reset-step` keep the calls of a step that was taken back.
            continue
        # A model may use an id again in a later step, and some clients then keep one part only.
        pairs = zip_longest(reversed(given), reversed(calls.get(call_id, [])))
        for claim, part in pairs:
            if _is_answer(claim) and not (part is not None and _accept(part, claim)):
                raise RequestRefused(409, NOT_ASKED)
    if parts == written["parts"] and _is_behind(claimed["parts"], parts):
        raise RequestRefused(409, NOT_ASKED)
    return {**written, "parts": parts}


def _is_behind(copied: Sequence[Part], parts: Sequence[Part]) -> bool:
    """Return whether a copy ends with an answer after which the message has gone on: the page sends
    the answer once more.
    """
    last = next(filter(_is_said, reversed(copied)), None)
    if last is None or not is_tool_part(last) or not _is_answer(last):
        return False
    later = takewhile(lambda part: part.get("toolCallId") != last["toolCallId"], reversed(parts))
    return any(map(_is_said, later))


def _is_said(part: Part) -> bool:
    return part["type"] in ("text", "reasoning") or is_tool_part(part)


def _by_call(parts: Iterable[Part]) -> dict[str, list[Part]]:
    calls: dict[str, list[Part]] = {}
    for part in filter(is_tool_part, parts):
        calls.setdefault(part["toolCallId"], []).append(part)
    return calls


def _is_answer(claim: Part | None) -> bool:
    if claim is None or claim["state"] not in ANSWERED:
        return False
    return claim["state"] != "approval-responded" or claim["approval"].get("approved") is not None


def _accept(part: Part, claim: Part) -> bool:
    """Put an answer into a part, or compare it with the one that it has; return whether it fits."""
    if claim["state"] in ("approval-responded", "output-denied"):
        return _decide(part, claim)
    if part["state"] in RESULTS:
        return _is_same_result(part, claim)
    if not (part.get("providerExecuted") or part["state"] == "input-streaming"):
        return _complete(part, claim)
    return False


def _decide(part: Part, claim: Part) -> bool:
    asked, given = part.get("approval") or {}, claim.get("approval") or {}
    approved = claim["state"] == "approval-responded" and given["approved"]
    if part["state"] == "output-denied":
        return not approved
    if given.get("id") != asked.get("id"):
        return False
    if part["state"] != "approval-requested":
        return bool(asked.get("approved") is approved)
    reason = {"reason": given["reason"]} if given.get("reason") is not None else {}
    part.update(state="approval-responded", approval={**asked, "approved": approved, **reason})
    return True


def _complete(part: Part, claim: Part) -> bool:
    """Give an open call its result, and the approval that it needs, unless it has that already."""
    asked, given = part.get("approval") or {}, claim.get("approval") or {}
    if part["state"] == "approval-requested":
        if given.get("id") != asked["id"] or given.get("approved") is not True:
            return False
        part["approval"] = {**asked, "approved": True}
    elif part["state"] == "approval-responded" and asked.get("approved") is not True:
        return False
    result = "output" if claim["state"] == "output-available" else "errorText"
    part.update({"state": claim["state"], result: claim.get(result)})
    return True


def _is_same_result(part: Part, claim: Part) -> bool:
    if part["state"] == "output-denied":
        # Clients of `ai` 5 know no denial and are sent an error instead.
        return bool(claim["state"] == "output-error")
    keys = ("state", "output", "errorText")
    return [_as_page_has(part.get(key)) for key in keys] == [
        _as_page_has(claim.get(key)) for key in keys
    ]


def _as_page_has(value: object) -> Any:
    """Return a value with its numbers as JavaScript reads them."""
    return json.loads(encode_json(value), parse_int=float)
