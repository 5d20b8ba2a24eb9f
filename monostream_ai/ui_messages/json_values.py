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
"""Levels of nesting; what lies deeper becomes a short text."""

MAX_VALUES: Final = 600_000
"""Values in one result; the rest becomes short texts. So many do not fit into a chunk, and objects
that refer to each other may have paths without end."""

MAX_SAFE_INTEGER: Final = 2**53 - 1
"""Source: ECMA-262, Number.MAX_SAFE_INTEGER. Larger integers become text: the client would round
them.
"""


def to_json_value(value: Any) -> Any:
    """Return a JSON value that says the same.

    Pydantic models and dataclasses become objects, dates ISO 8601, bytes base64, NaN and infinities
    null, as in JavaScript. What has no JSON form becomes its `str`, or else its type, as does what
    contains itself. Keys that the client refuses (`__proto__`, `constructor.prototype`) are left
    out.
    """
    return _Writer().write(value)


class _Writer:
    def __init__(self) -> None:
        self._left = MAX_VALUES
        self._inside: set[int] = set()

    def write(self, value: Any) -> Any:
        self._left -= 1
        if isinstance(value, Enum):
            return self.write(value.value)
        if value is None or isinstance(value, str | bool):
            return value
        if isinstance(value, int):
            return value if -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER else _as_text(value)
        if isinstance(value, float):
            return value if math.isfinite(value) else None
        if self._left < 0 or len(self._inside) >= MAX_DEPTH or id(value) in self._inside:
            return f"<{type(value).__name__}>"
        self._inside.add(id(value))
        try:
            return self._compound(value)
        finally:
            self._inside.discard(id(value))

    def _compound(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return self._object(value)
        if isinstance(value, list | tuple | AbstractSet):
            return [self.write(item) for item in value]
        if isinstance(value, date | time):
            return value.isoformat()
        if isinstance(value, bytes | bytearray):
            return base64.b64encode(value).decode()
        if is_dataclass(value) and not isinstance(value, type):
            return self._object(
                {field.name: getattr(value, field.name, None) for field in fields(value)}
            )
        return self.write(_dump(value))

    def _object(self, value: Mapping[Any, Any]) -> dict[str, Any]:
        result = {
            _as_text(key): self.write(item) for key, item in value.items() if key != "__proto__"
        }
        constructor = result.get("constructor")
        if isinstance(constructor, dict):
            constructor.pop("prototype", None)
        return result


def _dump(value: Any) -> Any:
    # Pydantic is not a dependency of this floor, so its models are known by their method.
    dump = getattr(value, "model_dump", None)
    if dump is None or isinstance(value, type):
        return _as_text(value)
    try:
        return dump(mode="json")
    except Exception:  # a field of a type that pydantic cannot write
        return _as_text(value)


def _as_text(value: Any) -> str:
    try:
        return str(value)
    except Exception:  # an object that cannot say what it is, or an integer of thousands of digits
        return f"<{type(value).__name__}>"
