"""Finds the messages in a value that a run was given or returned."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from itertools import islice
from typing import Any, Final, NamedTuple

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    ChatMessageChunk,
    convert_to_messages,
)

MAX_DEPTH: Final = 5
"""Levels of updates, lists and commands that are searched for a message."""

MAX_ITEMS: Final = 1000
"""Items of one list or mapping that are searched, the newest of a list. A node may return anything,
and a model waits while this runs.
"""

_ANSWERS: Final = frozenset({"assistant", "ai", "model"})
_ROLES: Final = frozenset({"user", "human", "assistant", "ai", "tool"})


class Found(NamedTuple):
    """A message, and the object that stood for it: LangGraph also takes mappings and pairs."""

    message: BaseMessage
    origin: object


def messages_in(value: Any, depth: int = MAX_DEPTH) -> Iterator[Found]:
    """Yield the messages in a message, a `Command`, a state or its update, or lists of these."""
    if isinstance(value, BaseMessage):
        yield Found(as_answer(value), value)
    elif depth == 0 or value is None or isinstance(value, str | bytes):
        return
    elif (message := _message_like(value)) is not None:
        yield Found(message, value)
    else:
        for item in _items(value):
            yield from messages_in(item, depth - 1)


def as_answer(message: BaseMessage) -> BaseMessage:
    """Return a message of the role of a model as an `AIMessage`, and any other one as it is."""
    if not isinstance(message, ChatMessage) or message.role not in _ANSWERS:
        return message
    kind = AIMessageChunk if isinstance(message, ChatMessageChunk) else AIMessage
    return kind(
        content=message.content,
        id=message.id,
        name=message.name,
        additional_kwargs=message.additional_kwargs,
        response_metadata=message.response_metadata,
    )


def is_command(output: Any) -> bool:
    """Whether this is a LangGraph `Command`, told by its shape: LangGraph need not be installed."""
    return hasattr(output, "update") and hasattr(output, "goto")


def _items(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        return islice(value.values(), MAX_ITEMS)
    if isinstance(value, list | tuple):
        return iter(value[-MAX_ITEMS:])
    if is_command(value):
        return iter([value.update])
    return (getattr(value, name, None) for name in islice(_field_names(value), MAX_ITEMS))


def _field_names(state: Any) -> Iterable[str]:
    """Return the fields of a state that is a pydantic model or a dataclass."""
    if isinstance(state, type):
        return ()
    if is_dataclass(state):
        return (field.name for field in fields(state))
    # A pydantic model, which this package recognises without importing pydantic.
    names = getattr(type(state), "model_fields", None)
    return names if isinstance(names, Mapping) else ()


def _message_like(value: Any) -> BaseMessage | None:
    """Return the message that LangGraph's reducer makes of `{role, content}` or `(role, text)`."""
    if isinstance(value, Mapping):
        role = value.get("role", value.get("type"))
        like = "content" in value
    else:
        pair = isinstance(value, list | tuple) and len(value) == 2
        role = value[0] if pair else None
        like = pair and isinstance(value[1], str)
    if not like or not isinstance(role, str) or role not in _ROLES:
        return None
    try:
        return convert_to_messages([value])[0]
    except Exception:  # LangChain's own checks of a foreign mapping
        return None
