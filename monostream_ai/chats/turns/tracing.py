"""The trace of a turn: it begins with the question, is stored with the version, and goes on in
whatever process writes the answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from monostream_ai._writing.publisher import Publisher
from monostream_ai.chats.turns.turn import Assignment
from monostream_ai.observing import Attempt
from monostream_ai.service import DurableStreamService
from monostream_ai.ui_messages.model_output import usage_in


@contextmanager
def question_traced(
    service: DurableStreamService[Any], assignment: Assignment
) -> Iterator[Assignment]:
    """Enclose the beginning of a turn; yield its work with the context that is to be stored."""
    # A lost turn has the context of its question.
    if service._tracer is None or assignment.attempt > 1 or assignment.exists:
        yield assignment
        return
    with service._tracer.trace_question(assignment.request.chat_id) as context:
        yield replace(assignment, trace=context)


@contextmanager
def attempt_traced(
    service: DurableStreamService[Any], assignment: Assignment, pub: Publisher[Any]
) -> Iterator[None]:
    """Enclose one run of a reply, from the opened publisher to the stored ending."""
    if service._tracer is None:
        yield
        return
    attempt = Attempt(
        chat_id=assignment.request.chat_id,
        stream_id=assignment.stream_id,
        version=assignment.version,
        message_id=assignment.message_id,
        number=assignment.attempt,
        waits_since=assignment.waits_since,
        usage_before=_usage_before(assignment, pub),
    )
    with service._tracer.trace_attempt(attempt, assignment.trace) as pub._watch_chunks:
        yield


def _usage_before(assignment: Assignment, pub: Publisher[Any]) -> dict[str, int]:
    """Return the tokens that the message counts before this run begins."""
    told = [chunk.get("messageMetadata") for chunk in pub.written]
    told = [(assignment.request.continued_message or {}).get("metadata"), *told]
    found = (usage_in(each) for each in reversed(told) if isinstance(each, dict))
    return next((usage for usage in found if usage), {})
