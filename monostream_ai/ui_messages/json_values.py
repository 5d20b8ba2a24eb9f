"""Any Python value as JSON that every client reads: for tool results and data that we did not make."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from datetime import date, time
from enum import Enum
from typing import Any, Final

MAX_DEPTH: Final = 100
"""Levels of nesting; what lies deeper becomes a short text. This also ends cycles."""

MAX_SAFE_INTEGER: Final = 2**53 - 1
"""Source: ECMA-262, Number.MAX_SAFE_INTEGER. Larger integers become text: the client would round them."""


def to_json_value(value: Any, depth: int = MAX_DEPTH) -> Any:
    """Return a JSON value that says the same.

    Pydantic models and dataclasses become objects, dates ISO 8601, bytes base64, NaN and infinities null, as in JavaScript.
    What has no JSON form becomes its `str`. Keys that the client refuses (`__proto__`, `constructor.prototype`) are left out.
    """
    if isinstance(value, Enum):
        return to_json_value(value.value, depth)
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int):
        return value if -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if depth == 0:
        return f"<{type(value).__name__}>"
    return _compound(value, depth - 1)


def _compound(value: Any, depth: int) -> Any:
    if isinstance(value, Mapping):
        return _object(value, depth)
    if isinstance(value, list | tuple | AbstractSet):
        return [to_json_value(item, depth) for item in value]
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, bytes | bytearray):
        return base64.b64encode(value).decode()
    if is_dataclass(value) and not isinstance(value, type):
        return _object({field.name: getattr(value, field.name) for field in fields(value)}, depth)
    return to_json_value(_dump(value), depth)


def _object(value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    result = {str(key): to_json_value(item, depth) for key, item in value.items() if key != "__proto__"}
    constructor = result.get("constructor")
    if isinstance(constructor, dict):
        constructor.pop("prototype", None)
    return result


def _dump(value: Any) -> Any:
    # Pydantic is not a dependency of this floor, so its models are known by their method.
    dump = getattr(value, "model_dump", None)
    if dump is None or isinstance(value, type):
        return str(value)
    try:
        return dump(mode="json")
    except Exception:  # a field of a type that pydantic cannot write
        return str(value)
