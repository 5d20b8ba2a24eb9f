"""A hook of mkdocs: pages include parts of the README, link to files of the repository by their
address there, and show their mermaid blocks as drawings that need no script.

`{{ readme: word }}` becomes the text between `<!-- word: -->` and `<!-- :word -->` in the README.
"""

from __future__ import annotations

import html
import re
import tomllib
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parent.parent
README: Final = ROOT / "README.md"
INCLUDE: Final = re.compile(r"\{\{ readme: (\w+) \}\}")
COMMENT: Final = re.compile(r"<!-- .*? -->\n?")
PAGE: Final = re.compile(r"\]\(docs/")
FOLDERS: Final = "benchmarks|examples|fuzz|monostream_ai|notebooks|packages|scripts|tests"
FILE: Final = re.compile(rf"\]\((?:\.\./)*((?:{FOLDERS})(?:/[^)]*)?|[A-Z]+(?:\.md)?(?:#[^)]*)?)\)")

DIAGRAMS: Final = ROOT / "docs" / "diagrams"
MERMAID: Final = re.compile(r'<pre class="mermaid"><code>(.*?)</code></pre>', re.DOTALL)


def on_page_markdown(markdown: str, **_: Any) -> str:
    included = INCLUDE.sub(_included, markdown)
    return FILE.sub(rf"]({repository()}/blob/main/\1)", COMMENT.sub("", included))


def on_page_content(content: str, **_: Any) -> str:
    return MERMAID.sub(_drawn, content)


def drawing_of(source: str) -> Path:
    """Return the file that scripts/diagrams makes of a mermaid block."""
    return DIAGRAMS / f"{sha256(source.strip().encode()).hexdigest()[:12]}.svg"


def _drawn(match: re.Match[str]) -> str:
    drawing = drawing_of(html.unescape(match[1]))
    if not drawing.exists():
        raise LookupError(f"a mermaid block has changed: run scripts/diagrams\n{match[1]}")
    # A drawing may be wider than a phone, and is scrolled there, also by the keyboard.
    return f'<div class="drawing" tabindex="0">{drawing.read_text()}</div>'


def repository() -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return str(project["tool"]["hatch"]["metadata"]["hooks"]["custom"]["repository"])


def _included(match: re.Match[str]) -> str:
    word = match[1]
    _, begun, rest = README.read_text().partition(f"<!-- {word}: -->\n")
    text, ended, _ = rest.partition(f"<!-- :{word} -->")
    if not begun or not ended:
        raise LookupError(f"the README has no part {word!r}")
    # The README names a page as docs/page.md; beside that page it is page.md.
    return PAGE.sub("](", text)
