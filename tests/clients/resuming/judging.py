"""Checks that chats show the right message, and that the known faults of their releases remain."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from monostream_ai.json_text import decode_json, encode_json
from monostream_ai.ui_messages import Chunk, MessageReducer, ProfileFilter, UIMessage
from monostream_ai.ui_messages.profiles import refuses
from tests.clients.reading import as_shown, expect
from tests.clients.resuming.releases import FAULTS, LATEST, Fault, Parts, after_a_replay
from tests.clients.resuming.stories import Story, Told

Sent = Callable[[Told], list[Chunk]]
"""Returns the chunks that make a story's answer, from `start` on."""


COMPARED: Final = ("messages", "status", "error")


class View(NamedTuple):
    """One view of the chat of a story, beside the view that the release shows if nothing breaks."""

    told: Told
    name: str
    expected: dict[str, Any]
    got: Parts
    """The parts that had reached the page when the response broke off."""

    @property
    def is_whole(self) -> bool:
        seen = self.told.views[self.name]
        return all(seen[key] == self.expected[key] for key in COMPARED)

    @property
    def faults(self) -> list[Fault]:
        shown = [] if self.told.shown is None else self.told.shown["parts"]
        concerned = [
            fault
            for fault in FAULTS
            if fault.view == self.name and self.told.story.release in fault.releases
        ]
        return [fault for fault in concerned if fault.strikes(shown, self.got)]

    def __str__(self) -> str:
        seen = self.told.views[self.name]
        differing = {
            key: (seen[key], self.expected[key])
            for key in COMPARED
            if seen[key] != self.expected[key]
        }
        faults = [fault.what for fault in self.faults]
        return (
            f"{self.told.story}, {self.name}: as without a cut but for {differing}; "
            f"known faults: {faults}"
        )


def complaints_about_whole(told: Sequence[Told], sent: Sent) -> Iterator[str]:
    """Yield a line for each answer that was not cut and that the page shows unlike our reducer."""
    for each in told:
        expected = _shown_at_last(each, sent(each))
        # A step is shown with its first part; one that has none is seen only if something else made
        # the page look again.
        if each.shown not in (expected, _without_empty_steps(expected)):
            yield f"{each.story} shows {each.shown}, and we have {expected}"


def _shown_at_last(told: Told, chunks: Sequence[Chunk]) -> UIMessage:
    expected = expect(told.story.profile, chunks, told.continued)
    return _as_release_has(told.story.release, as_shown(told.story.release, expected).message)


def _as_release_has(release: str, message: UIMessage) -> UIMessage:
    if release in LATEST:
        return message
    # Reasoning has an id since 5.0.234, 6.0.253 and 7.0.63.
    parts = [
        {key: part[key] for key in part if (part["type"], key) != ("reasoning", "id")}
        for part in message["parts"]
    ]
    return {**message, "parts": parts}


def _without_empty_steps(message: UIMessage) -> UIMessage:
    parts = list(message["parts"])
    while parts and parts[-1] == {"type": "step-start"}:
        parts.pop()
    return {**message, "parts": parts}


def views_of(told: Sequence[Told], whole: Sequence[Told], sent: Sent) -> list[View]:
    """Return all views of the stories; `whole` has the same scenarios without a cut."""
    unbroken = {each.story.scenario: each.cut for each in whole}
    return [
        View(each, name, expected, got)
        for each in told
        for expected in [_after_a_replay(each, unbroken[each.story.scenario], sent(each))]
        for got in [_got(each, sent)]
        for name in each.views
    ]


def complaints_about(views: Sequence[View]) -> list[str]:
    """Return a line for each view that is not whole without a known fault, or is whole in spite of
    one.
    """
    return [str(view) for view in views if view.is_whole == bool(view.faults)]


def _got(told: Told, sent: Sent) -> Parts:
    assert told.story.cut is not None
    earlier = [] if told.continued is None else told.continued["parts"]
    return [
        *earlier,
        *expect(told.story.profile, sent(told)[: told.story.cut.events]).message["parts"],
    ]


def _after_a_replay(
    each: Told, unbroken: dict[str, Any], chunks: Sequence[Chunk]
) -> dict[str, Any]:
    *others, last = after_a_replay(each.story.profile, unbroken["messages"])
    settled = _settled(each.story, chunks)
    if last["role"] == "assistant":
        last = {**last, "id": chunks[0]["messageId"]}
    if settled is not None:
        last = _as_release_has(each.story.release, settled)
    return {**unbroken, "messages": [*others, last]}


def _settled(story: Story, chunks: Sequence[Chunk]) -> UIMessage | None:
    """Return the message of a replay that shows what came of attempts and approvals, where a live
    response cannot; None if both show the same.
    """
    stored = chunks[: story.stored]
    lacking = {
        kind
        for kind in ("reset-step", "tool-approval-response")
        if refuses(story.profile, kind) and kind in {chunk["type"] for chunk in stored}
    }
    if not lacking:
        return None
    answers = {
        chunk["approvalId"]: chunk["approved"]
        for chunk in stored
        if chunk["type"] == "tool-approval-response" and chunk["type"] in lacking
    }
    calls = {
        chunk["approvalId"]: chunk["toolCallId"]
        for chunk in stored
        if chunk["type"] == "tool-approval-request"
    }
    filter, reducer = ProfileFilter(story.profile), MessageReducer()
    for place, chunk in enumerate(chunks):
        kind, answer = chunk["type"], answers.get(chunk.get("approvalId", ""))
        if place < len(stored) and kind == "reset-step":
            reducer.feed(chunk)
            continue
        if answer is True:
            continue
        if answer is False and kind == "tool-approval-response":
            chunk = {"type": "tool-output-denied", "toolCallId": calls[chunk["approvalId"]]}
        reducer.feed(decode_json(filter.apply(encode_json(chunk))))
    return reducer.message
