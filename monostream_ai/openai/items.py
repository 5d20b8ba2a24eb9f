"""Maps the output items of a response: messages and reasoning; calls are in `item_calls`.

Streams differ in how much of an item comes in deltas: all, the beginning, or nothing. Of a whole
text, only the part is shown that its deltas have not shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from monostream_ai.openai.content import PLUMBING, Piece, Spoken, read_content
from monostream_ai.openai.item_calls import ItemCalls
from monostream_ai.openai.item_list import Item, ItemList, Place, content_of
from monostream_ai.openai.remains import Remains
from monostream_ai.openai.server_tools import is_call, is_result
from monostream_ai.openai.sources import source_of
from monostream_ai.recording.fields import get, get_index, get_text, named_fields, to_json
from monostream_ai.recording.message import Recording
from monostream_ai.recording.model_output import ModelOutput
from monostream_ai.ui_messages import Chunk
from monostream_ai.ui_messages.audio import audio_file

_SPOKEN: Final = ("text", "reasoning", "refusal")
_NO_CONTENT: Final = frozenset({"mcp_list_tools", "mcp_approval_response", "additional_tools"})
"""Items about tools that hold nothing that the model says."""


class Items:
    """Maps the items of one response, each when it begins and when it is whole."""

    def __init__(
        self,
        recording: Recording,
        output: ModelOutput,
        *,
        encrypted_reasoning: bool,
        other_items: bool,
    ) -> None:
        self.list = ItemList()
        self.remains = Remains(recording.unread("openai"))
        self.calls = ItemCalls(recording, output)
        self._recording = recording
        self._output = output
        self._encrypted_reasoning = encrypted_reasoning
        self._other_items = other_items
        self._audio: list[str] = []
        self._speaking: Item | None = None

    def added(self, index: int | None, given: Any) -> list[Chunk]:
        """Announce a tool call; other items begin with their first delta."""
        item = self.list.added(index, given)
        item.announced_as = given
        item.phase = get_text(given, "phase")
        item.encrypts = self._encrypted_reasoning and get(given, "encrypted_content") is not None
        return self.calls.announce(item, given) if is_call(item.kind) else []

    def delta(self, event: Any, kind: Spoken, key: str, text: str) -> list[Chunk]:
        """Show a piece of a text; `key` is the event's field with the index of the text."""
        item = self.list.of_event(event, "reasoning" if kind == "reasoning" else "message")
        place = ("summary" if key == "summary_index" else "content", get_index(event, key) or 0)
        if item.held is not None:
            item.held.setdefault(place, (kind, []))[1].append(text)
            return []
        return self._say(item, place, kind, text)

    def text_done(self, event: Any, kind: Spoken, key: str, text: str) -> list[Chunk]:
        """Show the rest of a whole text, whose deltas may have stopped early."""
        item = self.list.of_event(event, "reasoning" if kind == "reasoning" else "message")
        place = ("summary" if key == "summary_index" else "content", get_index(event, key) or 0)
        return self._rest(item, place, kind, text)

    def part_done(self, event: Any, kind: Spoken, key: str) -> list[Chunk]:
        """Show the rest of a content part."""
        pieces = list(read_content(get(event, "part"), kind))
        spoken = _spoken(pieces)
        if not spoken:
            return []
        return self.text_done(event, spoken[0].kind, key, "".join(each.value for each in spoken))

    def annotated(self, event: Any) -> list[Chunk]:
        """Show the source of an annotation."""
        annotation = to_json(get(event, "annotation"))
        return self._cite(self.list.of_event(event, "message"), annotation)

    def _cite(self, item: Item, annotation: Any) -> list[Chunk]:
        if annotation and annotation not in item.citations:
            item.citations.append(annotation)
        return source_of(self._recording, self._recording.unread("openai"), annotation)

    def end_text(self) -> list[Chunk]:
        """End the open text, with the phase of its message and its annotations."""
        item, ended = self._speaking, self._output.speech.end()
        if item is None:
            return ended
        state = {"phase": item.phase, "annotations": item.citations}
        item.citations = []
        return _with_state(ended, {key: value for key, value in state.items() if value})

    def done(self, index: int | None, given: Any) -> list[Chunk]:
        """Show the content of a whole item that its deltas have not shown."""
        return self._whole(self.list.done(index, given), given)

    def whole_output(self, output: Any) -> list[Chunk]:
        """Show the content of a whole response that no event before has shown."""
        if not isinstance(output, list | tuple):
            return self._whole_text(output) if output else []
        matched = self.list.matched([given for given in output if given is not None])
        # A text that is open gets its rest first, so that it stays in one part.
        matched.sort(key=lambda pair: pair[0] is not self._speaking)
        return [chunk for item, given in matched for chunk in self._whole(item, given)]

    def end(self) -> list[Chunk]:
        """Show what was held back, and give calls that were never whole what they have."""
        chunks = self.leftovers()
        return [*chunks, *self.calls.end(self.list)]

    def cut_off(self) -> list[Chunk]:
        """Show what was held back, and the calls as far as they have come."""
        return [*self.leftovers(), *self.calls.cut_off(self.list)]

    def leftovers(self) -> list[Chunk]:
        """Show what was held back: texts behind a gap, audio, and values that nobody reads."""
        chunks: list[Chunk] = []
        for item in self.list:
            held, item.held = item.held, None
            for place, (kind, pieces) in (held or {}).items():
                chunks += self._say(item, place, kind, "".join(pieces))
            if not item.done:
                chunks += self._announced(item)
                for kind_of_delta, pieces in item.pending.items():
                    self.remains.add(kind_of_delta, "".join(pieces))
                item.pending.clear()
        pieces, self._audio = self._audio, []
        if pieces and (file := audio_file(pieces)):
            chunks += self._recording.file(*file)
        elif pieces:
            self._recording.unread("openai").lose("audio that is no base64")
        return [*chunks, *self.remains.keep()]

    def _announced(self, item: Item) -> list[Chunk]:
        """Show the content that an item had when it was announced, since it never came whole."""
        given, item.announced_as = item.announced_as, None
        if item.kind == "message":
            return self._contents(item, "content", get(given, "content"), "text")
        if item.kind == "reasoning":
            chunks = self._contents(item, "summary", get(given, "summary"), "reasoning")
            return [*chunks, *self._contents(item, "content", get(given, "content"), "reasoning")]
        if is_call(item.kind):
            return self.calls.announced(item, given)
        rest = {
            name: value
            for name, value in named_fields(given).items()
            if name not in PLUMBING and value not in (None, "", [], {})
        }
        return self._other(item.kind, given) if rest else []

    def hear(self, data: str) -> None:
        """Take a piece of streamed audio."""
        self._audio.append(data)

    @property
    def said_anything(self) -> bool:
        return any(item.shown for item in self.list)

    def _whole(self, item: Item, given: Any) -> list[Chunk]:
        item.phase = get_text(given, "phase") or item.phase
        chunks = self._read(item, given)
        self._speaking = None
        if not item.done:
            item.done, item.held = True, None
            item.pending.clear()
        item.given = content_of(given)
        return chunks

    def _read(self, item: Item, given: Any) -> list[Chunk]:
        if item.kind == "message":
            rest = self._contents(item, "content", get(given, "content"), "text")
            return [*rest, *self.end_text()]
        if item.kind == "reasoning":
            chunks = self._contents(item, "summary", get(given, "summary"), "reasoning")
            chunks += self._contents(item, "content", get(given, "content"), "reasoning")
            return [*chunks, *self._end_reasoning(item, given)]
        if is_call(item.kind):
            return self.calls.whole(item, given)
        if item.kind == "mcp_approval_request" and not item.done:
            # With `other_items`, pages have always got the raw question.
            asked = self.calls.ask(given)
            return [*asked, *(self._other(item.kind, given) if self._other_items else [])]
        if is_result(item.kind):
            return self.calls.result(item, given)
        return [] if item.done else self._other(item.kind, given)

    def _other(self, kind: str, given: Any) -> list[Chunk]:
        if self._other_items:
            return self._recording.builder.data("openai-item", to_json(given))
        if kind not in _NO_CONTENT:
            return self._recording.unread("openai").keep(f"item {kind}", to_json(given))
        if get(given, "error"):
            self._recording.unread("openai").lose(f"error of {kind}")
        return []

    def _contents(self, item: Item, field: str, contents: Any, kind: Spoken) -> list[Chunk]:
        listed = contents if isinstance(contents, list | tuple) else (contents,)
        chunks: list[Chunk] = []
        for index, content in enumerate(listed):
            pieces = list(read_content(content, kind))
            if spoken := _spoken(pieces):
                text = "".join(piece.value for piece in spoken)
                last = index == len(listed) - 1
                chunks += self._rest(item, (field, index), spoken[0].kind, text, last=last)
            for piece in pieces:
                chunks += self._beside(item, piece)
            if kind == "text" and index < len(listed) - 1:
                chunks += self.end_text()
        return chunks

    def _beside(self, item: Item, piece: Piece) -> list[Chunk]:
        if piece.kind == "source":
            return self._cite(item, piece.value)
        if piece.kind == "file":
            return self._recording.file(*piece.value)
        if piece.kind == "audio" and not item.done and not self._audio:
            self._audio.append(piece.value)
        if piece.kind == "unread" and not item.done:
            return self._recording.unread("openai").keep("content", piece.value)
        return []

    def _rest(
        self, item: Item, place: Place, kind: Spoken, text: str, *, last: bool = True
    ) -> list[Chunk]:
        """Show the end of a whole text that its deltas have not shown."""
        shown, field = "".join(item.shown.get(place, ())), place[0]
        if item.held is not None:
            item.held.pop(place, None)
        if shown.startswith(text):
            # Without indexes, the deltas of the next content came under the same place.
            if not last and len(shown) > len(text) and (field, place[1] + 1) not in item.shown:
                item.shown[place] = [text]
                item.shown[(field, place[1] + 1)] = [shown[len(text) :]]
            return []
        if text.startswith(shown):
            if not shown and self._is_repeated(item, text):
                return []
            return self._say(item, place, kind, text[len(shown) :])
        if shown.strip() != text.strip() and not self._is_repeated(item, text):
            # It is neither shown twice nor lost.
            self.remains.add(f"{kind} that differs from its deltas", text)
        item.shown[place] = [text]
        return []

    def _is_repeated(self, item: Item, text: str) -> bool:
        """Whether another place of the item has this text: a thought may be summary and content."""
        return any("".join(pieces) == text for pieces in item.shown.values())

    def _say(self, item: Item, place: Place, kind: Spoken, text: str) -> list[Chunk]:
        if not text:
            return []
        begins, self._speaking = place not in item.shown, item
        item.shown.setdefault(place, []).append(text)
        where = (item.number, place)
        if kind == "refusal":
            return self._output.refusal(where, text)
        if kind == "text":
            return self._output.speech.text(where, text)
        chunks = self._end_summary(item) if begins and item.encrypts else []
        return [*chunks, *self._output.speech.reasoning(where, text)]

    def _end_summary(self, item: Item) -> list[Chunk]:
        """End a part of the thoughts whose state comes with the last part."""
        return _with_state(self._output.speech.end(), {"itemId": item.item_id})

    def _end_reasoning(self, item: Item, given: Any) -> list[Chunk]:
        encrypted = get_text(given, "encrypted_content") if self._encrypted_reasoning else ""
        if not encrypted or get_text(item.given, "encrypted_content"):
            return self._output.speech.end()
        ids = {"itemId": get_text(given, "id"), "reasoningEncryptedContent": encrypted}
        return _with_state(self._output.speech.end_reasoning(), ids)

    def _whole_text(self, output: Any) -> list[Chunk]:
        if self.said_anything:
            return []
        return self._contents(self.list.of_event(None, "message"), "content", output, "text")


def _spoken(pieces: Sequence[Piece]) -> list[Any]:
    return [piece for piece in pieces if piece.kind in _SPOKEN]


def _with_state(chunks: list[Chunk], state: dict[str, Any]) -> list[Chunk]:
    """Put state on the end of a text or of thoughts, the last chunk."""
    if not state or not chunks or chunks[-1]["type"] not in ("text-end", "reasoning-end"):
        return chunks
    return [*chunks[:-1], {**chunks[-1], "providerMetadata": {"openai": state}}]
