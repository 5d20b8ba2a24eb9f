"""Keys that the client's parser refuses at any depth, since they could change the prototype of
every object.

Source: vercel/ai, @ai-sdk/provider-utils@5.0.81, src/secure-json-parse.ts.
"""

from __future__ import annotations

from monostream_ai.errors import InvalidChunk


def check_keys(value: object) -> None:
    """Look at every object in a JSON value, however deep.

    Raises:
        InvalidChunk: One has a key `__proto__`, or `constructor` with `prototype` under it.
    """
    waiting: list[tuple[str, object]] = [("$", value)]
    for path, item in waiting:
        if isinstance(item, dict):
            _check_object(item, path)
            waiting += [
                (f"{path}.{key}", child)
                for key, child in item.items()
                if isinstance(child, dict | list | tuple)
            ]
        elif isinstance(item, list | tuple):
            waiting += [
                (f"{path}[{i}]", child)
                for i, child in enumerate(item)
                if isinstance(child, dict | list | tuple)
            ]


def _check_object(value: dict[str, object], path: str) -> None:
    if "__proto__" in value:
        raise InvalidChunk(f"{path}.__proto__", "the client refuses a message with this key")
    constructor = value.get("constructor")
    if isinstance(constructor, dict) and "prototype" in constructor:
        raise InvalidChunk(
            f"{path}.constructor.prototype", "the client refuses a message with this key"
        )
