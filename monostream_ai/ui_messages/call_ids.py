"""Tool calls by the ids that models give them, which need not be unique, and by the ids that the
message gives them.
"""

from __future__ import annotations

from collections.abc import Iterable

from monostream_ai.ui_messages.builder import UIMessageBuilder


class CallIds:
    """Gives each call of a message an id of its own and finds the call that a result answers.

    Args:
        earlier: Ids of calls that the message had before, as it shows them.
    """

    def __init__(self, message: UIMessageBuilder, earlier: Iterable[str] = ()) -> None:
        self._message = message
        self._published: dict[str, list[str]] = {}
        for call_id in earlier:
            model_id, mark, number = call_id.rpartition("#")
            repeated = mark == "#" and number.isdecimal() and model_id in self._published
            self._published.setdefault(model_id if repeated else call_id, []).append(call_id)

    @property
    def unanswered(self) -> bool:
        """Whether any call waits for its result."""
        return any(self.find_unanswered(call_id) is not None for call_id in self._published)

    def publish(self, call_id: str) -> str:
        """Return the id under which the message shows a new call of this id."""
        others = self._published.setdefault(call_id, [])
        published = f"{call_id}#{len(others) + 1}" if others else call_id
        others.append(published)
        return published

    def find(self, call_id: str, name: str | None = None) -> str | None:
        """Return the call that a tool with this id runs: the first one without a result, if
        possible of this name, or the last.

        An agent inside a tool may count its calls as the one outside does. A call whose input is
        still arriving is not meant: nobody can run it yet.
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
        """Return the first call of this id, and of a tool of this name if one is given, that waits
        for its result.
        """
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

    def state(self, published: str) -> str | None:
        call = self._message.call(published)
        return None if call is None else call.state
