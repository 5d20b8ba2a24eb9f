"""Packages that only extras bring: an import that fails without one names the extra."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from monostream_ai.errors import MissingExtra


@contextmanager
def needs(package: str, *extras: str, by: str) -> Iterator[None]:
    """Enclose the imports of a package; each of the extras brings it to the module `by`.

    Raises:
        MissingExtra: One of them failed.
    """
    try:
        yield
    except ImportError as error:
        raise MissingExtra(by, package, extras) from error
