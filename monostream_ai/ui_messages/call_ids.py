"""Unique ids for the tool calls of a message, since models may use one id for several calls."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from monostream_ai.ui_messages.builder import UIMessageBuilder


class CallIds:
    """Gives each call of a message an id of its own, and finds the call that a result belongs to.

    The first call with a model's id keeps that id; the next ones become `id#2`, `id#3`.

    Args:
        earlier: Published ids of the calls that the message already has.
    """

    def __init__(self, message: UIMessageBuilder, earlier: Iterable[str] = ()) -> None:
        self._message = message
        self._published: dict[str, list[str]] = {}
        self.add(earlier)

    def add(self, earlier: Iterable[str]) -> None:
        """Take note of published ids of calls that others have made in this message."""
        known = {published for others in self._published.values() for published in others}
        for call_id in dict.fromkeys(earlier):
            if call_id in known:
                continue
            model_id, mark, number = call_id.rpartition("#")
            repeated = mark == "#" and number.isdecimal()
            if repeated:
                self._published.setdefault(model_id, []).append(call_id)
            if not repeated or self._published[model_id] == [call_id]:
                # The first call was taken back with its step, or a model has made this id.
                self._published.setdefault(call_id, []).append(call_id)

    @property
    def unanswered(self) -> bool:
        """Whether any call lacks a result."""
        return any(self.find_unanswered(call_id) is not None for call_id in self._published)

    def publish(self, call_id: str) -> str:
        """Return the id under which the message shows a new call with this model id."""
        others = self._published.setdefault(call_id, [])
        numbers = itertools.count(len(others) + 1)
        published = f"{call_id}#{next(numbers)}" if others else call_id
        while published in others:
            # Calls that were taken back in an earlier turn are not among the others.
            published = f"{call_id}#{next(numbers)}"
        others.append(published)
        return published

    def rename(self, published: str, call_id: str) -> None:
        """Let a call of the message be found under another id, which its vendor gave it later."""
        others = self._published.setdefault(call_id, [])
        if published not in others:
            others.append(published)

    def published(self, call_id: str) -> Sequence[str]:
        """Return the published ids of all calls with this model id, oldest first."""
        return self._published.get(call_id, ())

    def find(self, call_id: str, name: str | None = None) -> str | None:
        """Return the published id of the call that a running tool belongs to, or None.

        That is the first call without a result, preferably one for a tool of this name: an agent
        inside a tool may number its calls like the agent around it. If all have results, it is the
        last one. Calls whose input is still arriving do not count, since no tool can run them yet.
        """
        whole = [
            candidate
            for candidate in self._published.get(call_id, ())
            if self.state(candidate) not in (None, "streaming")
        ]
        return (
            self.find_unanswered(call_id, name)
            or self.find_unanswered(call_id)
            or (whole[-1] if whole else None)
        )

    def find_unanswered(self, call_id: str, name: str | None = None) -> str | None:
        """Return the first call of this model id, and tool name if given, that lacks a result."""
        calls = (
            (published, self._message.call(published))
            for published in self._published.get(call_id, ())
        )
        waiting = (
            (published, call.name)
            for published, call in calls
            if call is not None and call.state == "called"
        )
        return next(
            (published for published, called in waiting if name is None or called == name), None
        )

    def find_by_name(self, name: str) -> str | None:
        """Return the first call of this tool that lacks a result, for results without an id."""
        found = (self.find_unanswered(call_id, name) for call_id in self._published)
        return next((published for published in found if published is not None), None)

    def state(self, published: str) -> str | None:
        call = self._message.call(published)
        return None if call is None else call.state
