"""The fenced blocks of the README and of the pages in docs/.

A comment just above a fence, `<!-- run: word -->`, says how to run a block that is not a program of
its own: it `continues` the program before it, needs `postgres`, `openai`, `agents`, `gemini` or
`anthropic`, is a `server` of chats, the chats without FastAPI (`asgi`) or an application that has
them (`host`), a `plain` server, a `suite` of tests, whose page may have the module `answers`, or
the hook of a `shared` chat, of one whose failed answers are `marked`, of one that lists its
`waiting` questions, of one with `ai_6`, or of one that sends its `last` message only. The modules
`checkpoints`, `tools` and `approving`, the whole `steps` of tools, a reply that is `failing`,
the `forgetting` of a user, and the configuration of `vite` have tests of their own. Lines that
start with `#>` are its output.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
PAGES: Final = [
    ROOT / "README.md",
    # tests/tutorial runs the steps of the tutorial, which build on each other.
    *(page for page in sorted(ROOT.glob("docs/**/*.md")) if page.parent.name != "tutorial"),
]
FENCED: Final = re.compile(
    r"^(?:<!-- run: (\w+) -->\n)?```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Block:
    page: str
    language: str
    directive: str
    text: str
    line: int

    @property
    def kind(self) -> tuple[str, str]:
        return self.language, self.directive

    @property
    def place(self) -> str:
        return f"{self.page} line {self.line}"

    def execute(self, **names: Any) -> dict[str, Any]:
        """Run a block of Python with these names; return them with those that it defines."""
        exec(compile(self.text, self.place, "exec"), names)
        return names


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text()
    return [
        Block(page.name, match[2], match[1] or "", match[3], text.count("\n", 0, match.start()) + 1)
        for match in FENCED.finditer(text)
    ]


BLOCKS: Final = [block for page in PAGES for block in blocks_of(page)]


def blocks(language: str, directive: str = "") -> list[Block]:
    return [block for block in BLOCKS if block.kind == (language, directive)]
