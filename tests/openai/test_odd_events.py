"""Servers that imitate OpenAI's API omit fields or fill them oddly.

The mapping uses the fields that it can read, and never fails.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from monostream_ai.openai.events import EventMapper
from monostream_ai.recording.message import Recording
from monostream_ai.ui_messages import UIMessageBuilder
from tests.openai.recordings import NAMES, events_of
from tests.openai.storing import check_message

ODD: tuple[Any, ...] = (None, "", 7, [None], {})


def spoiled(events: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Yield the events with one field replaced, for each field and each odd value."""
    for index, event in enumerate(events):
        for path in paths(event):
            for odd in ODD:
                changed = copy.deepcopy(event)
                holder = changed
                for key in path[:-1]:
                    holder = holder[key]
                holder[path[-1]] = odd
                yield [*events[:index], changed, *events[index + 1 :]]


def paths(value: Any) -> Iterator[tuple[Any, ...]]:
    pairs = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, inner in pairs:
        yield (key,)
        for path in paths(inner):
            yield (key, *path)


@pytest.mark.sweep(5)
@pytest.mark.parametrize("name", NAMES)
def test_an_odd_field_breaks_neither_the_mapping_nor_the_message(name: str) -> None:
    for events in spoiled(events_of(name)):
        builder = UIMessageBuilder(message_id="m1")
        mapper = EventMapper(Recording(builder), encrypted_reasoning=True, other_items=True)
        chunks = [chunk for event in events for chunk in mapper.feed(event)]

        check_message([*chunks, *builder.finish()])
