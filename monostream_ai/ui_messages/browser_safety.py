"""Checks that keep text written by a model from harming the page that shows it."""

from __future__ import annotations

from typing import Final

from monostream_ai.errors import InvalidChunk

_FOLLOWED: Final = ("http://", "https://")


def is_link(url: str) -> bool:
    """Whether a page may offer this URL as a link.

    Models repeat text that others wrote, so a URL of theirs may be `javascript:` or `data:`.
    """
    return url[:8].lower().startswith(_FOLLOWED)


def check_keys(value: object) -> None:
    """Check that no object in a JSON value, at any depth, has a key the client refuses.

    Such a key could change the prototype of every object of the page.
    Source: vercel/ai, @ai-sdk/provider-utils@5.0.81, src/secure-json-parse.ts.

    Raises:
        InvalidChunk: An object has the key `__proto__`, or `constructor` with `prototype` under it.
    """
    # A list that grows while it is walked, since recursion would fail on deeply nested values.
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
