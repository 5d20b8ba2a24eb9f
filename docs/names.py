"""Lists the public names on the pages of the reference, for readers without the built site.

`python -m docs.names` writes the lists anew, from signatures and docstrings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import griffe

REFERENCE: Final = Path(__file__).parent / "reference"
TARGET: Final = re.compile(
    r"^::: monostream_ai\.?(\S*)\n(?:    options:\n      members: \[(.*)\])?", re.MULTILINE
)
HEAD: Final = "| Name | What it is |\n|---|---|\n"


def with_names(page: str) -> str:
    """Return a page whose names are listed in front of the places for its entries."""
    first = page.index("::: ")
    text = page[: page.find(HEAD)] if HEAD in page else page[:first]
    rows = dict.fromkeys(row for match in TARGET.finditer(page) for row in _rows(match))
    return f"{text}{HEAD}{''.join(rows)}\n{page[first:]}"


def _rows(match: re.Match[str]) -> Iterator[str]:
    found = _package()[match[1]] if match[1] else _package()
    if found.is_alias:
        found = found.final_target
    if not found.is_module:
        yield _row(found)
        return
    chosen = match[2].split(", ") if match[2] else found.exports or _defined_in(found)
    for name in chosen:
        member = found[str(name)]
        yield _row(member.final_target if member.is_alias else member)


@cache
def _package() -> griffe.Object | griffe.Alias:
    return griffe.load("monostream_ai", resolve_aliases=True)


def _defined_in(module: griffe.Object | griffe.Alias) -> list[str]:
    """Return the classes and functions of a module without `__all__`."""
    return [
        name
        for name, member in module.members.items()
        if not (name.startswith("_") or member.is_alias) and (member.is_class or member.is_function)
    ]


def _row(found: griffe.Object | griffe.Alias) -> str:
    parts = [_first_sentence(found)]
    if found.is_class or found.is_function:
        parts.append(_listed("Takes", _parameters(found)))
    if found.is_class:
        parts.append(_listed("Has", _members(found)))
    told = " ".join(filter(None, parts)).replace("|", r"\|")
    return f"| `{found.name}` | {told} |\n"


def _first_sentence(found: griffe.Object | griffe.Alias) -> str:
    text = found.docstring.value if found.docstring else ""
    paragraph = " ".join(text.partition("\n\n")[0].split())
    first = re.split(r"(?<=[^.][.:;]) (?=[A-Z(`])", paragraph, maxsplit=1)[0].rstrip(".:;")
    return first and f"{first}."


def _parameters(found: griffe.Object | griffe.Alias) -> list[str]:
    function = found.all_members.get("__init__") if found.is_class else found
    given = function.parameters if isinstance(function, griffe.Function) else ()
    return [each.name for each in given if each.name not in ("self", "cls")]


def _members(found: griffe.Object | griffe.Alias) -> list[str]:
    return [
        name
        for name, member in found.members.items()
        if not name.startswith(("_", "test_")) and member.has_docstring
    ]


def _listed(verb: str, names: list[str]) -> str:
    return f"{verb} {', '.join(f'`{name}`' for name in names)}." if names else ""


def main() -> None:
    for path in REFERENCE.glob("[!i]*.md"):
        path.write_text(with_names(path.read_text()))


if __name__ == "__main__":
    main()
