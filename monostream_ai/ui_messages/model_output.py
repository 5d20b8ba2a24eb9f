"""Text, reasoning and tool calls as a model streams them, for any vendor.

The adapters for LangChain and OpenAI read their events and pass the pieces on to these classes,
which know the part, the call or the metadata that a piece belongs to.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from monostream_ai.json_text import whole_characters
from monostream_ai.ui_messages.builder import UIMessageBuilder
from monostream_ai.ui_messages.chunks import Chunk
from monostream_ai.ui_messages.json_values import MAX_SAFE_INTEGER
from monostream_ai.ui_messages.open_parts import PartKind

_ENDS: Final[Mapping[str, str]] = {"{": "}", "[": "]"}
"""The last character of a whole JSON text, by its first one."""


@dataclass(slots=True, eq=False)
class StreamedCall:
    """A tool call whose input arrives in pieces.

    Vendors may send its id and name late. `published` is its id in the message, None until the
    message announces it. `index` is the vendor's position of the call, which some servers leave out
    or give to every call.
    """

    call_id: str | None = None
    name: str | None = None
    arguments: str = ""
    provider_executed: bool = False
    published: str | None = None
    index: object = None

    def add(self, call_id: str | None, name: str | None, arguments: str) -> None:
        """Append a piece.

        A name may come in pieces until the first argument; a server may also repeat it.
        """
        self.call_id = self.call_id or call_id or None
        if name and not self.arguments:
            so_far = self.name or ""
            self.name = name if name.startswith(so_far) else so_far + name
        self.name = self.name or name or None
        self.arguments += arguments

    @property
    def whole(self) -> bool:
        """Whether the arguments are complete JSON."""
        end = _ENDS.get(self.arguments[:1])
        if end is not None and not self.arguments.rstrip().endswith(end):
            # Parsing all of them for each piece would take longer and longer.
            return False
        try:
            json.loads(self.arguments)
        except (ValueError, RecursionError):
            return False
        return True


class StreamedCalls:
    """The unfinished tool calls of one model call, in the order in which they began."""

    def __init__(self) -> None:
        self._calls: list[StreamedCall] = []

    def __iter__(self) -> Iterator[StreamedCall]:
        return iter(self._calls)

    def find(
        self,
        index: object,
        call_id: str | None,
        name: str | None = None,
        arguments: str = "",
        *,
        provider_executed: bool = False,
    ) -> StreamedCall:
        """Return the call that a piece continues, or a new one.

        Without an index, an id begins a call, and a piece without an id continues the last call.
        Calls of one index are told apart by their ids, or else by a name after whole arguments.
        Some servers make a new id for each piece: one that can only be the rest of the last call
        continues it. Calls that the provider executes are indexed on their own.
        """
        newest_first = [
            call
            for call in reversed(self._calls)
            if call.provider_executed is provider_executed
            and (index is None or call.index is None or call.index == index)
        ]
        found = next(iter(newest_first), None)
        if call_id:
            same = next((call for call in newest_first if call.call_id == call_id), None)
            if same is None and (index is None or (found and not _is_rest(found, name, arguments))):
                found = None
            found = same or found
        elif found is not None and index is not None and found.index is None:
            found = None
        if found is None or _begins_another(found, call_id, name):
            found = StreamedCall(provider_executed=provider_executed, index=index)
            self._calls.append(found)
        return found

    def remove(self, call: StreamedCall) -> None:
        self._calls.remove(call)

    def clear(self) -> None:
        self._calls.clear()


def _is_rest(call: StreamedCall, name: str | None, arguments: str) -> bool:
    """Whether a piece with an id that is not known goes on with the last call of its index."""
    if not call.call_id:
        return True
    if not arguments or call.whole:
        return False
    return not name or (name == call.name and bool(call.arguments))


def _begins_another(call: StreamedCall, call_id: str | None, name: str | None) -> bool:
    if not name or not call.arguments or (call_id and call_id == call.call_id):
        return False
    # A name may follow the first arguments of its call.
    return call.whole or call.name not in (None, "", name)


class OpenText(NamedTuple):
    """A text part that a model call goes on with, since its prompt ended with that text.

    A prompt may not end with a space, so a model begins with one that the text has already.
    """

    part_id: str
    ends_with_space: bool


class Speech:
    """The text and reasoning of one model call; at most one part is open.

    A place is the vendor's position of a part, such as its index. Deltas of one place make one
    part; another place, another kind or a tool call ends it. Some vendors send a place only
    sometimes: a delta without one continues the open part of its kind.

    Args:
        new_part_id: Makes an id that no other part of the message has.
        open_text: The open text part that this call goes on with.
    """

    def __init__(
        self,
        builder: UIMessageBuilder,
        new_part_id: Callable[[PartKind], str],
        open_text: OpenText | None = None,
    ) -> None:
        self._builder = builder
        self._new_part_id = new_part_id
        self._open: tuple[PartKind, object] | None = None if open_text is None else ("text", None)
        self._part_id = "" if open_text is None else open_text.part_id
        self._after_space = open_text is not None and open_text.ends_with_space
        # The first half of a character that a server has split, until the second half comes.
        self._half = ""

    def text(self, place: object, delta: str) -> list[Chunk]:
        if self._after_space:
            delta = delta.lstrip()
            self._after_space = not delta
        if not delta:
            return []
        turned = self._turn_to("text", place)
        delta = self._whole(delta)
        return [*turned, *self._builder.text(self._part_id, delta)] if delta else turned

    def reasoning(self, place: object, delta: str) -> list[Chunk]:
        if not delta:
            return []
        turned = self._turn_to("reasoning", place)
        delta = self._whole(delta)
        return [*turned, *self._builder.reasoning(self._part_id, delta)] if delta else turned

    def announce(self, call: StreamedCall, published: str) -> list[Chunk]:
        """Begin a tool call with the arguments it has so far; this ends the open part."""
        call.published = published
        chunks = self.end()
        return chunks + self._builder.tool_input(
            published, call.name or "", call.arguments, provider_executed=call.provider_executed
        )

    def end(self) -> list[Chunk]:
        """End the open part, if there is one."""
        part, self._open = self._open, None
        half, self._half = self._half, ""
        if part is None:
            return []
        is_text = part[0] == "text"
        say = self._builder.text if is_text else self._builder.reasoning
        end = self._builder.end_text if is_text else self._builder.end_reasoning
        return [*(say(self._part_id, half) if half else ()), *end(self._part_id)]

    def end_reasoning(self) -> list[Chunk]:
        """End the open reasoning part, or send an empty one.

        The last chunk is always a `reasoning-end`, so that provider metadata can ride on it.
        """
        # Others may have ended it, with its step.
        if self._builder.is_open("reasoning", self._part_id):
            return self.end()
        start = self._turn_to("reasoning", None)
        return [*start, *self._builder.reasoning(self._part_id, ""), *self.end()]

    @property
    def in_text(self) -> bool:
        """Whether a text part is open."""
        return self._open is not None and self._open[0] == "text"

    def _whole(self, delta: str) -> str:
        """Return the delta with whole characters; one that it ends in half waits for the rest."""
        before, self._half = self._half, ""
        # The builder refuses anything but a text by its name.
        if isinstance(delta, str) and "\ud800" <= delta[-1] <= "\udbff":
            delta, self._half = delta[:-1], delta[-1]
        return whole_characters(before + delta) if before else delta

    def _turn_to(self, kind: PartKind, place: object) -> list[Chunk]:
        if self._open is not None and self._open[0] == kind:
            known = self._open[1]
            if place is None or known is None or place == known:
                self._open = (kind, known if place is None else place)
                return []
        chunks = self.end()
        self._open, self._part_id = (kind, place), self._new_part_id(kind)
        return chunks


class Summary:
    """Sends the finish reason and the token counts as `message-metadata`, only where they changed.

    Args:
        told: Entries that the client has already.
    """

    def __init__(self, builder: UIMessageBuilder, told: Mapping[str, Any] | None = None) -> None:
        self._builder = builder
        self._told = dict(told or {})

    def tell(self, metadata: Mapping[str, Any], usage: Mapping[str, int]) -> list[Chunk]:
        """Send the entries that differ from those sent before, or nothing.

        Args:
            usage: Tokens of all model calls so far, under the names of `LanguageModelUsage`. Left
                out while it is empty.
        """
        now = {**metadata, **({"usage": dict(usage)} if usage else {})}
        news = {key: value for key, value in now.items() if self._told.get(key) != value}
        self._told |= news
        return self._builder.metadata(news) if news else []


def usage_in(metadata: Mapping[str, Any]) -> dict[str, int]:
    """Return the token counts in the metadata of a message, which may come from a client."""
    usage = metadata.get("usage")
    return {
        str(name): count
        for name, count in (usage.items() if isinstance(usage, Mapping) else ())
        if isinstance(count, int) and not isinstance(count, bool) and 0 < count <= MAX_SAFE_INTEGER
    }
