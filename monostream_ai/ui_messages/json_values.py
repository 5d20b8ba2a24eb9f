"""Converts any Python value to JSON that every client can read, for results of foreign tools."""

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
"""Levels of nesting; deeper values become a short text."""

MAX_VALUES: Final = 600_000
"""Values in one result; the rest become short texts.

More would not fit into a chunk, and objects that refer to each other can have endless paths.
"""

MAX_SAFE_INTEGER: Final = 2**53 - 1
"""Larger integers become text, since the client would round them.

Source: ECMA-262, Number.MAX_SAFE_INTEGER.
"""


def to_json_value(value: Any) -> Any:
    """Convert a value to its closest JSON form; never fails.

    Pydantic models and dataclasses become objects, dates ISO 8601, bytes base64, NaN and infinities
    null, as in JavaScript. Any other object becomes its `str`, or `<its type>` if `str` fails. A
    value that contains itself becomes `<its type>` inside. Keys that the client refuses
    (`__proto__`, `constructor.prototype`) are left out.
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
    # This package does not import pydantic, so its models are recognised by their method.
    dump = getattr(value, "model_dump", None)
    if dump is None or isinstance(value, type):
        return _as_text(value)
    try:
        return dump(mode="json")
    except Exception:  # a field has a type that pydantic cannot serialize
        return _as_text(value)


def _as_text(value: Any) -> str:
    try:
        return str(value)
    except Exception:  # a broken `__str__`, or an integer of thousands of digits
        return f"<{type(value).__name__}>"
