"""Runs the turns that a router has dispatched, in a worker of any queue."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from monostream_ai.chats.files import ChatFiles
from monostream_ai.chats.turns.finishing import Finisher
from monostream_ai.chats.turns.names import TurnRef
from monostream_ai.chats.turns.replies import ChatReplies, check_replies
from monostream_ai.chats.turns.requests import ChatRequest
from monostream_ai.chats.turns.turn import Assignment, may_run_again
from monostream_ai.chats.turns.writing import TurnWriter
from monostream_ai.errors import Fenced, NotLost, StreamDeleted, StreamStopped, UnknownStream
from monostream_ai.service import DurableStreamService

logger = logging.getLogger(__name__)


async def run_turn(service: DurableStreamService[Any], turn_ref: str, replies: ChatReplies) -> bool:
    """Write the answer of a dispatched turn, then call `on_finish`; return whether this call did.

    Of many calls in many processes, exactly one writes the turn, so a queue may deliver it twice. A
    reply that raises ends the turn with a masked error and is logged, as in the router. A call that
    is cancelled, because the worker is told to exit, gives the turn up: with an attempt left, the
    processes of the router dispatch it again at once.

    Args:
        service: On the database of the router.
        turn_ref: The text that `dispatch` was given.
        replies: Those of the router.

    Returns:
        False if there is nothing to do: another call has written the turn or writes it, or it was
        stopped, has ended, or is deleted.

    Raises:
        ValueError: The text names no turn of these replies, or `replies.files` needs a `url`.
        TypeError: `replies` is no `ChatReplies`.
        StoreUnavailable: The turn could not be taken; it is dispatched again.
    """
    check_replies(replies)
    replies.check_away()
    turn = TurnRef.parse(turn_ref)
    if not turn.stream_id.startswith(replies.stream_prefix):
        raise ValueError(f"{turn_ref!r} names no stream that begins with {replies.stream_prefix!r}")
    assignment = await _assignment(service, turn, replies)
    if assignment is None:
        logger.debug("there is nothing to write for %s", turn_ref)
        return False
    finisher = Finisher(service, replies.on_finish, replies.stream_prefix)
    hook_for = ChatFiles(replies.files, replies.stream_prefix).hook_for
    opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    # asyncio reports an error that nobody retrieves, and a cancelled call retrieves none.
    opened.add_done_callback(lambda done: done.cancelled() or done.exception())
    try:
        await TurnWriter(service, replies, finisher, hook_for).write(assignment, opened)
        await finisher.idle()
    finally:
        await finisher.cancel()
    try:
        opened.result()
    except (NotLost, UnknownStream, Fenced, StreamStopped, StreamDeleted):
        return False
    return True


async def _assignment(
    service: DurableStreamService[Any], turn: TurnRef, replies: ChatReplies
) -> Assignment | None:
    """Return the work that is left of a turn; None if it is done, or another process's."""
    try:
        info = await service.status(*turn)
    except UnknownStream:
        return None
    # A lost turn that has run before is left to the router, which may let it wait again. With
    # `go_on`, a queue that noticed the death of its worker may bring it back before.
    free = info.waiting or (info.lost and (replies.go_on or info.attempt == 0))
    left = info.attempt == 0 or may_run_again(info.attempt, info.handovers, replies.attempts)
    if not free or not left:
        return None
    request = await ChatRequest.stored_with(service, info)
    if request is None or info.message_id is None:
        return None
    return Assignment.onward(info, request, info.message_id, goes_on=replies.go_on)
