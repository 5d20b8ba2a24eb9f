"""Finds the output item of a response that an event is about.

OpenAI names it by `output_index` and `item_id`. Servers that copy its API leave out one or both,
give every event an id of its own, or every item the index 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from monostream_ai.openai.content import Spoken, text_of
from monostream_ai.recording.fields import get, get_index, get_text, named_fields, to_json
from monostream_ai.ui_messages.model_output import StreamedCall

Place: TypeAlias = tuple[str, int]
"""A text of an item: `content` or `summary`, and its index there."""

FAKE_ID: Final = "__fake_id__"
"""Id of every item and response that the Agents SDK makes of a chat completion.

Source: openai-agents 0.24.0, models/fake_id.py.
"""
CALL: Final = "call"
"""Kind of an item that is a call, until it tells which."""


@dataclass(slots=True, eq=False)
class Item:
    """An output item, as far as it has come. `kind` is empty until it is known."""

    number: int
    kind: str = ""
    item_id: str = ""
    index: int | None = None
    announced: bool = False
    done: bool = False
    shown: dict[Place, list[str]] = field(default_factory=dict)
    """The text that the message has for each place, in pieces."""
    held: dict[Place, tuple[Spoken, list[str]]] | None = None
    """Kind and deltas of each place behind a gap, which wait for the whole text; None without a
    gap."""
    call: StreamedCall | None = None
    name: str = ""
    arguments: str = ""
    """Input that came before the item did."""
    pending: dict[str, list[str]] = field(default_factory=dict)
    """Text of other deltas, by their type, which the whole item repeats."""
    announced_as: Any = None
    """The item as it was announced, in case it never comes whole."""
    phase: str = ""
    """Whether a message is a `commentary` or the `final_answer`; the next request tells it too."""
    citations: list[Any] = field(default_factory=list)
    """The annotations of the text that is open, as JSON."""
    encrypts: bool = False
    """Whether the item has encrypted reasoning, which comes at its end."""
    given: Any = None
    """The whole item as it came, without its id."""

    @property
    def begun(self) -> bool:
        """Whether deltas have come that only their own id can tell from those of another item."""
        given = self.arguments or (self.call is not None and self.call.arguments)
        return bool(self.shown or (given and not self.announced))

    def fits(self, kind: str) -> bool:
        if not self.kind or not kind:
            return True
        if CALL in (kind, self.kind):
            return not {"message", "reasoning"} & {kind, self.kind}
        return self.kind == kind


class ItemList:
    """The items of one response, in the order in which they began."""

    def __init__(self) -> None:
        self._items: list[Item] = []
        self._by_id: dict[str, Item] = {}
        self._by_index: dict[int, Item] = {}
        self._gap = False

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    def knows(self, item_id: str) -> bool:
        return item_id in self._by_id

    def mark_gap(self) -> None:
        """Note that deltas may be missing: those of open items wait for the whole text."""
        self._gap = True
        for item in self._items:
            if not item.done:
                item.held = {}

    def of_event(self, event: Any, kind: str) -> Item:
        """Return the item that a delta belongs to, or a new one."""
        item_id, index = id_of(event, "item_id"), get_index(event, "output_index")
        item = self._find(item_id, index, kind)
        if item is None or (item.done and item_id not in self._by_id):
            item = self._new(item_id, index, kind)
        if index is None:
            self._note(item, item_id)
        item.kind = item.kind or kind
        return item

    def added(self, index: int | None, given: Any) -> Item:
        """Return the item that begins, which deltas may have begun before."""
        item_id, kind = id_of(given), get_text(given, "type")
        item = self._by_id.get(item_id)
        if item is None:
            begun = self._find("", index, kind)
            item = begun if begun and not (begun.announced or begun.done) else None
        if item is None:
            item = self._new(item_id, index, kind)
            item.held = None
        item.kind, item.announced = kind, True
        self._note(item, item_id)
        return item

    def done(self, index: int | None, given: Any) -> Item:
        """Return the item that is whole now."""
        item_id, kind = id_of(given), get_text(given, "type")
        item = self._find(item_id, index, kind)
        if item is not None and not self.knows(item_id) and not _may_be(item, index, given):
            item = None
        if item is None or _is_other_call(item, given):
            item = self._new(item_id, index, kind)
        item.kind = kind
        self._note(item, item_id)
        return item

    def matched(self, output: Sequence[Any]) -> list[tuple[Item, Any]]:
        """Return the item for each of the whole output, in its order."""
        found = {n: self._by_id.get(id_of(given)) for n, given in enumerate(output)}
        for n, given in enumerate(output):
            if found[n] is None:
                found[n] = self._unmatched(n, given, list(found.values()))
        whole: list[tuple[Item, Any]] = []
        for n, given in enumerate(output):
            item_id, kind = id_of(given), get_text(given, "type")
            item = found[n] or self._new(item_id, None, kind)
            item.kind = kind
            whole.append((item, given))
        return whole

    def _unmatched(self, index: int, given: Any, matched: list[Item | None]) -> Item | None:
        kind = get_text(given, "type")
        left = [
            item
            for item in self._items
            if item not in matched and item.fits(kind) and not _is_other_call(item, given)
        ]
        at_index = (item for item in left if item.index == index)
        return next(at_index, left[0] if left else None)

    def _find(self, item_id: str, index: int | None, kind: str) -> Item | None:
        if item_id in self._by_id:
            return self._by_id[item_id]
        if index is not None:
            item = self._by_index.get(index)
            return item if item is not None and item.fits(kind) else None
        fitting = (item for item in reversed(self._items) if item.fits(kind) and not item.done)
        # An item that has an id of its own may have another one in its deltas, but from the first.
        return next((one for one in fitting if not (item_id and one.item_id and one.begun)), None)

    def _new(self, item_id: str, index: int | None, kind: str) -> Item:
        item = Item(len(self._items), kind=kind, index=index)
        item.held = {} if self._gap else None
        self._items.append(item)
        if index is not None:
            self._by_index[index] = item
        self._note(item, item_id)
        return item

    def _note(self, item: Item, item_id: str) -> None:
        if item_id:
            self._by_id[item_id] = item
            item.item_id = item.item_id or item_id


def id_of(holder: Any, name: str = "id") -> str:
    """Return the id of an item or a response, or an empty text if it has none of its own."""
    found = get_text(holder, name)
    return "" if found == FAKE_ID else found


def _may_be(item: Item, index: int | None, given: Any) -> bool:
    """Whether a whole item may be this one, although its id is not known."""
    if item.done:
        return bool(item.given == content_of(given))
    if index is not None or not item.item_id or not id_of(given):
        return True
    shown = "".join(text for pieces in item.shown.values() for text in pieces)
    whole = text_of(get(given, "summary")) + text_of(get(given, "content"))
    return bool(shown) and whole.startswith(shown)


def _is_other_call(item: Item, given: Any) -> bool:
    """Whether an item holds another call than this one, as far as their ids tell."""
    known, call_id = item.call and item.call.call_id, get_text(given, "call_id")
    # The id of a call may be known only when it is whole.
    return bool(known and call_id) and known not in (call_id, item.item_id)


def content_of(given: Any) -> Any:
    """Return an item without the id that a server may change when it repeats the item."""
    return {key: to_json(value) for key, value in named_fields(given).items() if key != "id"}
