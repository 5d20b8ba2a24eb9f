"""The answers of the offline model: texts from `answers/`, after a thought and a tool call."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any

TEXTS = Path(__file__).parent / "answers"


@dataclass(frozen=True)
class Answer:
    """One scripted answer; one without a tool is just its text."""

    name: str
    tool: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    thought: str = ""
    opening: str = ""
    picture: str = ""
    """A file of `answers/`, shown before the text."""
    fails: bool = False

    def text(self, result: Mapping[str, Any]) -> str:
        """Return the text, with the tool's result filled in."""
        return Template((TEXTS / f"{self.name}.md").read_text()).safe_substitute(result)


def answer_to(question: str) -> Answer:
    """Return the answer that fits the words of the question."""
    words = set(re.findall(r"[a-z]+", question.lower()))
    if {"guests", "time", "name"} <= words:
        return Answer("booked")
    if words & {"weather", "temperature", "rain", "forecast"}:
        return _weather(question)
    if {"delete", "file"} <= words:
        return Answer(
            "approval", "delete_file", {"path": "old.txt"}, CAUTION, "I have to ask you first."
        )
    if {"search", "archive"} <= words:
        return Answer(
            "search",
            "search_archive",
            {"topic": "storms"},
            opening="I will look through the letters of the keepers. This takes a while.",
        )
    if words & {"picture", "draw"}:
        return Answer("picture", picture="lighthouse.svg")
    if words & {"reserve", "table"}:
        return Answer("reservation", "ask_for_a_table")
    if words & {"fail", "error"}:
        return Answer("failure", fails=True)
    if words & {"story", "poem", "tale", "long"}:
        return Answer("story")
    if words & {"hi", "hello", "hey", "thanks", "thank"} and len(words) <= 4:
        return Answer("hello")
    return Answer(
        "survival",
        "describe_server",
        {},
        THOUGHT,
        "Let me look at the process that is writing this answer.",
    )


THOUGHT = (
    "The user will want to see whether this answer really survives. Before I explain it, I should "
    "find out which process is writing it: if somebody kills that process while I talk, another "
    "one has to take over, and its number will be different."
)


CAUTION = (
    "A deleted file does not come back. The tool may run only once the user has agreed, so I "
    "should say which file I mean and then wait."
)


def _weather(question: str) -> Answer:
    place = re.search(r"\b(?:in|for|at)\s+([A-Z][\w-]*(?:\s+[A-Z][\w-]*)*)", question)
    city = place[1] if place else "Lisbon"
    return Answer(
        "weather",
        tool="get_weather",
        arguments={"city": city},
        thought=(
            "The user wants to know the weather. I have a tool for that, "
            f"so I should ask it for {city} and not guess."
        ),
        opening=f"I will look up the weather in {city}.",
    )
