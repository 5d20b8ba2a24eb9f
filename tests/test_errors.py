"""The tree of errors drawn in errors.py is the real one."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator

import monostream_ai
from monostream_ai import errors
from monostream_ai.errors import MonostreamError

BRANCH = re.compile(r"(?P<indent>[│ ]*)[├└]── (?P<name>\w+)(?P<rest>.*)")


def drawn() -> dict[str, str]:
    """Return the parent of each error in the drawing."""
    parents: dict[str, str] = {}
    path = ["MonostreamError"]
    for line in (errors.__doc__ or "").splitlines():
        if match := BRANCH.match(line):
            depth = len(match["indent"]) // 4 + 1
            parents[match["name"]] = path[depth - 1]
            path[depth:] = [match["name"]]
    return parents


def real(base: type[MonostreamError] = MonostreamError) -> Iterator[tuple[str, str]]:
    """Yield each error of the package beside its parent."""
    for child in base.__subclasses__():
        if child.__module__.startswith("monostream_ai."):
            yield child.__name__, base.__name__
            yield from real(child)


def test_the_tree_as_drawn_is_the_tree_as_it_is() -> None:
    for module in pkgutil.walk_packages(monostream_ai.__path__, "monostream_ai."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    assert drawn() == dict(real())


def test_an_error_drawn_as_a_builtin_is_one_too() -> None:
    also = dict(re.findall(r"(\w+) \(also an? (\w+)\)", errors.__doc__ or ""))
    assert also == {
        "InvalidArgument": "ValueError",
        "MissingExtra": "ImportError",
        "SubscriptionTimeout": "TimeoutError",
    }
    for name, builtin in also.items():
        assert builtin in [base.__name__ for base in getattr(errors, name).__mro__]
