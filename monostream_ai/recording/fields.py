"""Reads the fields of an event by name, with a default where a field is missing or odd.

Events are objects of any SDK version, or plain dicts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from monostream_ai.ui_messages import to_json_value


def get(value: Any, *path: str) -> Any:
    """Return the field at the end of the path, or None where there is none."""
    for name in path:
        if value is None:
            break
        if value.__class__ is dict or isinstance(value, Mapping):
            value = value.get(name)
        else:
            value = getattr(value, name, None)
    return value


def get_text(value: Any, *path: str) -> str:
    """Return the text at the end of the path, or an empty one if there is none."""
    found = get(value, *path)
    return found if isinstance(found, str) else ""


def get_index(value: Any, *path: str) -> int | None:
    found = get(value, *path)
    return found if isinstance(found, int) else None


def get_list(value: Any, *path: str) -> Sequence[Any]:
    found = get(value, *path)
    return found if isinstance(found, list | tuple) else ()


def named_fields(value: Any) -> Mapping[str, Any]:
    """Return the fields that the API has sent, by name."""
    if isinstance(value, Mapping):
        return value
    sent = getattr(value, "model_fields_set", None)
    if sent is None:
        return dict(vars(value)) if hasattr(value, "__dict__") else {}
    extra = getattr(value, "model_extra", None) or {}
    return {**{name: getattr(value, name) for name in sent}, **extra}


def present_fields(value: Any) -> Mapping[str, Any]:
    """Return the fields that are not None, by name; none for a value that has no fields.

    To look for several fields in it is many times faster than `get`: an object of the SDK takes
    long to say that it lacks one.
    """
    if value.__class__ is not dict:
        value = _fields_of(value)
    return {name: field for name, field in value.items() if field is not None}


def to_json(value: Any) -> Any:
    """Return the value as JSON, with only those fields of an SDK object that the API has sent."""
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    to_dict = getattr(value, "to_dict", None)
    return to_json_value(value if to_dict is None else _as_dict(to_dict))


def _fields_of(value: Any) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    if not hasattr(value, "__dict__"):
        return {}
    extra = getattr(value, "__pydantic_extra__", None)
    return {**vars(value), **extra} if extra else vars(value)


def _as_dict(to_dict: Callable[..., Any]) -> Any:
    try:
        # A value of another type than the SDK expects would make pydantic warn.
        return to_dict(warnings=False)
    except TypeError:
        return to_dict()
