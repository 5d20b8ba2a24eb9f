"""Reads from the latest turns of a chat whether one of them answers a question that waits, whether
the user is to decide something first, and which messages came before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, TypeAlias

from monostream_ai.chats.turns.finishing import finished_message, last_type
from monostream_ai.chats.turns.requests import ChatRequest, digest_in, question_in
from monostream_ai.errors import UnknownStream
from monostream_ai.service import DurableStreamService
from monostream_ai.types import VersionInfo
from monostream_ai.ui_messages import UIMessage
from monostream_ai.ui_messages.tool_parts import is_tool_part

LOOKED_AT: Final = 20
"""How many of a chat's latest versions are searched for the answer to a question."""

Wish: TypeAlias = Literal["decision", "result"]
"""Something that an answer which has ended waits for: the user's decision on a call, or the result
of a call that the page runs.
"""


def answered_up_to(versions: Sequence[VersionInfo]) -> int:
    """Return the highest number of the queued questions that these turns answer; -1 if there is
    none.
    """
    numbers = [question_in(version) for version in versions]
    return max((number for number in numbers if number is not None), default=-1)


def answer_of(number: int, versions: Sequence[VersionInfo]) -> VersionInfo | None:
    """Return the latest turn that answers the queued question with this number."""
    return next((each for each in versions if question_in(each) == number), None)


async def repeated_in(
    service: DurableStreamService[Any],
    request: ChatRequest,
    versions: Sequence[VersionInfo],
    *,
    behind: int | None = None,
) -> VersionInfo | None:
    """Return the turn that answers this same request, because a client that got no response has
    sent it again.

    One without a message id may be asked twice on purpose, and so may one whose answer failed or
    was stopped.

    Args:
        behind: The latest version when the request was put into the queue. A turn that began
            since, in a process that did not know the queue, answers it however it has ended.
    """
    if request.digest is None or not request.messages[-1].get("id"):
        return None
    for version in versions:
        if digest_in(version) == request.digest:
            if version is versions[0] and version.state == "open":
                return version
            if behind is not None and version.version > behind:
                return version
            if await last_type(service, version) == "finish":
                return version
    return None


async def wish_of(service: DurableStreamService[Any], latest: VersionInfo) -> Wish | None:
    """Return what a turn that has ended waits for, if its page can still give it."""
    request = await ChatRequest.stored_with(service, latest)
    try:
        message, last = await finished_message(service, latest, request)
    except UnknownStream:
        return None
    if last is None or last["type"] != "finish":
        return None
    calls = [part for part in message["parts"] if is_tool_part(part)]
    if any(call["state"] == "approval-requested" for call in calls):
        return "decision"
    open_calls = [call for call in calls if call["state"] == "input-available"]
    return "result" if any(not call.get("providerExecuted") for call in open_calls) else None


async def with_conversation(
    service: DurableStreamService[Any], request: ChatRequest, versions: Sequence[VersionInfo]
) -> ChatRequest:
    """Return the request of a question with the messages before it: those of the turn before, and
    its answer. If the client sent only its last message, none are added.

    Args:
        versions: Of the chat, the newest first.
    """
    if "messages" not in request.body:
        return request
    earlier: list[UIMessage] = []
    answers: list[UIMessage] = []
    for version in versions:
        # Open ones are attempts that a later one has replaced.
        if version.state != "closed":
            continue
        before = await ChatRequest.stored_with(service, version)
        try:
            answer, _ = await finished_message(service, version, before)
        except UnknownStream:
            break
        answers[:0] = [answer] if answer["parts"] else []
        # A `chat_publisher` may answer no question; then the turn before it knows the conversation.
        if before is not None and before.messages:
            earlier = before.messages
            break
    later = [*answers, *request.messages]
    ids = {message["id"] for message in later if message.get("id")}
    return request.with_messages([*(each for each in earlier if each.get("id") not in ids), *later])
