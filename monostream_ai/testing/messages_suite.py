"""The conformance suite for places that keep the histories of chats."""

from __future__ import annotations

import asyncio
from itertools import permutations
from typing import Any

import pytest

from monostream_ai.interfaces import Messages
from monostream_ai.types import StoredMessage


def a_message(version: int = 0, **fields: Any) -> StoredMessage:
    """Return a question of Ann's; `fields` replace its other values."""
    values = {
        "stream_id": "chat:ann/c1",
        "role": "user",
        "message_id": "u1",
        "since": version,
        "owner": "ann",
        "message": f'{{"v":{version}}}',
        "beginning": f"question {version}",
    }
    return StoredMessage(**{**values, **fields}, version=version)


class MessagesConformance:
    """Checks every promise of `Messages`, for a subclass whose fixture `messages` returns an empty
    place.
    """

    pytestmark = pytest.mark.asyncio

    @pytest.fixture
    def messages(self) -> Messages:
        raise pytest.UsageError(
            f"{type(self).__name__} needs a fixture 'messages' that returns an empty place for them"
        )

    async def test_the_latest_version_and_the_first_since_stay_in_whatever_order(
        self,
        messages: Messages,
    ) -> None:
        for place, order in enumerate(permutations([1, 2, 3, 2])):
            stream_id = f"chat:{place}"
            for version in order:
                await messages.put(a_message(version, stream_id=stream_id))
            assert await messages.of_stream(stream_id) == [
                a_message(3, since=1, stream_id=stream_id)
            ], order

    async def test_the_text_that_comes_last_stays_for_a_version(self, messages: Messages) -> None:
        await messages.put(a_message(message='{"a":1}'))
        await messages.put(a_message(message='{"a":2}'))
        assert await messages.of_stream("chat:ann/c1") == [a_message(message='{"a":2}')]

    async def test_messages_come_by_version_and_the_question_before_the_answer(
        self,
        messages: Messages,
    ) -> None:
        put = [
            a_message(10, role="assistant", message_id="a10"),
            a_message(10, message_id="u10"),
            a_message(9, role="assistant", message_id="same"),
            a_message(9, message_id="same"),
        ]
        for message in put:
            await messages.put(message)
        assert await messages.of_stream("chat:ann/c1") == put[::-1]

    async def test_any_json_text_comes_back(self, messages: Messages) -> None:
        text = '{"z":"\\u0000 \\ud800","a":1e400,"z":2}'
        longest = a_message(
            stream_id="s" * 2048, owner="o" * 2048, message_id="m" * 255, message=text
        )
        await messages.put(longest)
        assert await messages.of_stream("s" * 2048) == [longest]

    async def test_the_latest_chats_of_an_owner_come_in_pages(self, messages: Messages) -> None:
        for name in ("b", "a", "%", "c"):
            await messages.put(a_message(stream_id=f"chat:{name}"))
            await asyncio.sleep(0.002)
        await messages.put(a_message(stream_id="other:d"))
        await messages.put(a_message(stream_id="chat:e", owner="bob"))
        await messages.put(a_message(stream_id="chat:f", owner=None))
        await messages.put(a_message(1, stream_id="chat:b"))

        found, last = list[str](), None
        while page := await messages.latest("ann", prefix="chat:", before=last, limit=1):
            found.append(page[0].stream_id)
            last = page[0]
        assert found == ["chat:b", "chat:c", "chat:%", "chat:a"]
        of_nobody = await messages.latest(None, prefix="chat:", before=None, limit=9)
        assert [each.stream_id for each in of_nobody] == ["chat:f"]
        assert await messages.latest("ann", prefix="%", before=None, limit=9) == []

    async def test_a_repeated_message_does_not_make_its_chat_the_latest(
        self, messages: Messages
    ) -> None:
        for name in ("a", "b"):
            await messages.put(a_message(stream_id=name))
            await asyncio.sleep(0.002)
        await messages.put(a_message(stream_id="a"))
        latest = await messages.latest("ann", prefix="", before=None, limit=9)
        assert [each.stream_id for each in latest] == ["b", "a"]

    async def test_chats_of_one_moment_are_each_listed_once(self, messages: Messages) -> None:
        names = {f"chat:{number}" for number in range(20)}
        await asyncio.gather(*(messages.put(a_message(stream_id=name)) for name in names))
        found, last = list[str](), None
        while page := await messages.latest("ann", prefix="", before=last, limit=3):
            found += [each.stream_id for each in page]
            last = page[-1]
        assert sorted(found) == sorted(names)

    async def test_a_chat_has_its_first_question_as_it_was_asked_last_for_a_title(
        self,
        messages: Messages,
    ) -> None:
        await messages.put(a_message(0, role="assistant", message_id="a0", beginning="Hello"))
        [latest] = await messages.latest("ann", prefix="", before=None, limit=9)
        assert latest.title == ""
        for version, message_id in ((2, "u2"), (1, "u1"), (3, "u1")):
            await messages.put(a_message(version, message_id=message_id))
        [latest] = await messages.latest("ann", prefix="", before=None, limit=9)
        assert latest.title == "question 3"

    async def test_messages_are_deleted_by_stream_or_by_version(self, messages: Messages) -> None:
        for version in (0, 1):
            await messages.put(a_message(version, message_id=f"u{version}"))
        await messages.put(a_message(stream_id="other"))
        assert await messages.delete("chat:ann/c1", 1)
        assert not await messages.delete("chat:ann/c1", 1)
        assert await messages.of_stream("chat:ann/c1") == [a_message(message_id="u0")]
        assert await messages.delete("chat:ann/c1")
        assert not await messages.delete("chat:ann/c1")
        assert await messages.of_stream("chat:ann/c1") == []
        assert await messages.latest("ann", prefix="chat:", before=None, limit=9) == []
        assert len(await messages.of_stream("other")) == 1
