"""Requests to drive.mjs, and its answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from monostream_ai.ui_messages import Profile, UIMessage
from monostream_ai.ui_messages.profiles import check_profile
from tests.programs import run

DRIVE = Path(__file__).parent / "drive.mjs"


class Cut(NamedTuple):
    """Where a response ends: after this many chunks, and this many bytes of the next one."""

    events: int
    bytes: int = 0
    cleanly: bool = False
    """Whether it ends like a complete response, instead of with an error."""


@dataclass(frozen=True)
class Story:
    """A chat that asks, loses the response, and is viewed in several ways; see drive.mjs."""

    release: str
    scenario: str
    cut: Cut | None = None
    views: Sequence[str] = ()
    stored: int | None = None
    """Chunks that the reply writes before it waits for the views; None if it does not wait."""
    more: dict[str, Any] = field(default_factory=dict)
    """Additional keys for drive.mjs."""
    silent: bool = False
    """Whether its pages do not tell which release they have."""

    @property
    def profile(self) -> Profile:
        """The profile that its pages get."""
        return "any" if self.silent else check_profile(f"v{self.release[0]}")

    def line(self, key: int, url: str) -> dict[str, Any]:
        stages = [] if self.stored is None else [[self.stored, len(self.views)]]
        return {
            "id": f"c{key}",
            "client": self.release,
            "api": f"{url}/api/chat",
            "headers": {} if self.silent else {"x-ui-message-profile": self.profile},
            "script": {"scenario": self.scenario, "stages": stages},
            "cuts": [] if self.cut is None else [self.cut._asdict()],
            "views": self.views,
            **self.more,
        }


class Told(NamedTuple):
    """A story and its outcome. `cut` and each view have `messages`, `status`, `error`, `log`,
    `calls` and `data`.

    `calls` and `data` are the arguments of the chat's callbacks, after its return if it returned.
    `log` has every request.
    """

    story: Story
    chat_id: str
    before: list[UIMessage]
    cut: dict[str, Any]
    views: dict[str, dict[str, Any]]

    @property
    def continued(self) -> UIMessage | None:
        """The answer that the response went on with."""
        last = self.before[-1]
        return last if last["role"] == "assistant" else None

    @property
    def shown(self) -> UIMessage | None:
        """The answer as far as the page showed it when the response broke off."""
        last = self.cut["messages"][-1]
        return last if last["role"] == "assistant" else None


async def tell(stories: Iterable[Story], url: str) -> list[Told]:
    """Let the real clients live through the stories, many at once; return what came of each, in the
    order given.
    """
    stories = list(stories)
    answers = await run(DRIVE, [story.line(key, url) for key, story in enumerate(stories)])
    return [
        Told(story, f"c{key}", **answer)
        for key, (story, answer) in enumerate(zip(stories, answers, strict=True))
    ]
