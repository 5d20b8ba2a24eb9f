"""A hook of mkdocs: pages take parts of the README, and name the files of the repository to which
they cannot link.

`{{ readme: word }}` becomes what stands between `<!-- word: -->` and `<!-- :word -->` in the
README.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

README: Final = Path(__file__).parent.parent / "README.md"
INCLUDE: Final = re.compile(r"\{\{ readme: (\w+) \}\}")
COMMENT: Final = re.compile(r"<!-- .*? -->\n?")
FOLDERS: Final = "benchmarks|examples|fuzz|monostream_ai|notebooks|scripts|tests"
LINK: Final = re.compile(
    rf"\[([^]]+)\]\((?:\.\./)?((?:{FOLDERS})(?:/[^)#]*)?|[A-Z]+(?:\.md)?)(?:#[^)]*)?\)"
)


def on_page_markdown(markdown: str, **_: Any) -> str:
    return LINK.sub(_named, INCLUDE.sub(_included, markdown))


def _included(match: re.Match[str]) -> str:
    word = match[1]
    _, begun, rest = README.read_text().partition(f"<!-- {word}: -->\n")
    text, ended, _ = rest.partition(f"<!-- :{word} -->")
    if not begun or not ended:
        raise LookupError(f"the README has no part {word!r}")
    return COMMENT.sub("", text)


def _named(match: re.Match[str]) -> str:
    text, path = match[1], match[2]
    return f"`{path}`" if text.strip("`") == path else f"{text} (`{path}`)"
