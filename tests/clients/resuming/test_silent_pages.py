"""Pages that do not tell which release of `ai` they have, with a server that has no setting.

No release is told apart by its requests, so all of them get the same chunks.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

import pytest

from monostream_ai.ui_messages import Chunk, UIMessage, reduce_chunks
from tests.clients.resuming.conftest import Serve
from tests.clients.resuming.releases import LATEST, OVER_PARTIAL, REFRESH
from tests.clients.resuming.stories import Cut, Story, tell
from tests.clients.resuming.test_continuing import (
    DYNAMIC,
    END,
    EXCHANGES,
    OUTPUT,
    START,
    STEP,
    call,
    earlier,
    text,
)

WITH_APPROVALS: Final = LATEST[1:]
TAKEN_BACK: Final[list[Chunk]] = [
    START,
    STEP,
    *text("t", "It stays."),
    {"type": "data-state", "id": "s", "data": 1},
    {"type": "finish-step"},
    STEP,
    *text("u", "A fail", "ed attempt"),
    *call("c", **DYNAMIC),
    {"type": "data-state", "id": "s", "data": 2},
    {"type": "source-url", "sourceId": "a", "url": "https://a"},
    {"type": "reset-step"},
    *text("v", "Another", " one"),
    *END,
]
RESET: Final = [chunk["type"] for chunk in TAKEN_BACK].index("reset-step")
NEWER: Final[list[Chunk]] = [
    START,
    {"type": "message-metadata", "messageMetadata": {"a": 1}},
    STEP,
    {"type": "reasoning-start", "id": "r"},
    {"type": "reasoning-delta", "id": "r", "delta": "Hm."},
    {"type": "reasoning-end", "id": "r"},
    {"type": "reasoning-file", "url": "data:,a", "mediaType": "text/plain"},
    {"type": "custom", "kind": "acme.thing"},
    {"type": "steering-message", "id": "m", "parts": []},
    {"type": "some-new-thing", "a": 1},
    {"type": "file", "url": "data:,b", "mediaType": "text/plain"},
    {"type": "source-url", "sourceId": "a", "url": "https://a", "title": "A"},
    {"type": "data-state", "id": "s", "data": 1},
    {"type": "data-progress", "data": 1, "transient": True},
    *call("c1", title="Ask", toolMetadata={"a": 1}, **DYNAMIC),
    {**OUTPUT, "preliminary": True},
    {**OUTPUT, "providerMetadata": {"p": {"a": 1}}},
    *call("c2"),
    {"type": "tool-output-error", "toolCallId": "c2", "errorText": "It broke."},
    *text("t", "Hel", "lo"),
    {"type": "finish-step"},
    STEP,
    {"type": "message-metadata", "messageMetadata": {}},
    {"type": "finish-step"},
    {"type": "finish", "finishReason": "interrupted"},
]
"""All that a turn without approvals can hold."""
ONLY_7: Final = frozenset({"reasoning-file", "custom", "steering-message"})


def shown(message: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Return what a user sees of a message: its texts, and the calls with their states."""
    keys = ("type", "text", "toolCallId", "state", "input", "output", "errorText", "data", "url")
    return [
        tuple(part.get(key) for key in keys)
        for part in message["parts"]
        if part["type"] not in ONLY_7 | {"step-start"}
    ]


def last(seen: Mapping[str, Any]) -> UIMessage:
    message: UIMessage = seen["messages"][-1]
    assert (seen["status"], seen["error"], message["role"]) == ("ready", None, "assistant")
    return message


@pytest.fixture
async def requests() -> AsyncIterator[tuple[str, list[str]]]:
    """A server that finishes every answer at once, and the requests that it got."""
    got = list[str]()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(
            (int(line.split(":")[1]) for line in head.splitlines() if "content-length:" in line), 0
        )
        got.append(head + (await reader.readexactly(length)).decode())
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")
        writer.write(b'data: {"type":"finish"}\n\ndata: [DONE]\n\n')
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}", got


async def test_no_release_is_told_apart_by_its_requests(
    packages: object, requests: tuple[str, list[str]]
) -> None:
    url, got = requests
    for release in LATEST:
        # With the same id each time.
        await tell([Story(release, "any", views=[REFRESH], silent=True)], url)

    each = [got[place : place + 2] for place in range(0, len(got), 2)]
    assert len(each) == len(LATEST)
    assert [request.partition(" ")[0] for request in each[0]] == ["POST", "GET"]
    assert each == [each[0]] * len(LATEST)


@pytest.mark.parametrize("release", LATEST)
async def test_no_chunk_is_refused(serve: Serve, release: str) -> None:
    served = await serve({"newer": NEWER})
    at = len(NEWER) - 1
    whole, cut = await tell(
        [
            Story(release, "newer", silent=True),
            Story(release, "newer", Cut(at), [REFRESH], stored=at, silent=True),
        ],
        served.url,
    )

    stored = shown(reduce_chunks(await served.service.chunks("chat:c0")))
    assert shown(last(whole.cut)) == stored
    assert shown(last(cut.views[REFRESH])) == stored


@pytest.mark.parametrize("release", LATEST)
async def test_a_page_that_is_loaded_shows_no_attempt_that_was_taken_back(
    serve: Serve, release: str
) -> None:
    served = await serve({"reset": TAKEN_BACK})
    places = range(RESET - 3, RESET + 3)
    told = await tell(
        [Story(release, "reset", Cut(2), [REFRESH], stored=at, silent=True) for at in places],
        served.url,
    )

    stored = shown(reduce_chunks(await served.service.chunks("chat:c0")))
    seen = [shown(last(each.views[REFRESH])) == stored for each in told]
    # Nothing takes back what a page of `ai` 5 or 6 shows already.
    assert seen == [at > RESET for at in places]


@pytest.mark.parametrize("release", LATEST)
async def test_a_page_that_was_there_keeps_an_attempt_that_was_taken_back_unless_it_says_it_is_new(
    serve: Serve, release: str
) -> None:
    served = await serve({"reset": TAKEN_BACK})
    newest = {"headers": {"x-ui-message-profile": "v7.0.149"}}
    stories = [Story(release, "reset", silent=True)]
    if release.startswith("7"):
        stories.append(Story(release, "reset", more=newest))
    told = await tell(stories, served.url)

    stored = reduce_chunks(await served.service.chunks("chat:c0"))
    kept = [part.get("text") for part in last(told[0].cut)["parts"] if part["type"] == "text"]
    assert kept == ["It stays.", "A failed attempt", "Another one"]
    assert [shown(last(each.cut)) for each in told[1:]] == [shown(stored)] * len(told[1:])


@pytest.mark.parametrize("name", ["a call that is approved", "a call that is refused"])
@pytest.mark.parametrize("release", WITH_APPROVALS)
async def test_a_page_that_is_loaded_does_not_ask_again_for_an_approval(
    serve: Serve, release: str, name: str
) -> None:
    exchange = EXCHANGES[name]
    served = await serve({name: exchange.then} | earlier({name: exchange}))
    more = {"earlier": {"scenario": f"before {name}", "stages": []}, "answers": exchange.answers}

    def story(at: int) -> Story:
        views = (REFRESH, OVER_PARTIAL)
        return Story(release, name, Cut(at), views, stored=at, more=more, silent=True)

    whole, *cut = await tell(
        [
            Story(release, name, more=more, silent=True),
            *(story(at) for at in range(1, len(exchange.then))),
        ],
        served.url,
    )

    ends = {
        "a call that is approved": "output-available",
        "a call that is refused": "output-denied",
    }
    assert _states(whole.cut)[-1] == ends[name]
    for told in cut:
        for seen in told.views.values():
            assert shown(last(seen)) == shown(last(whole.cut))
            states = _states(seen)
            assert states[-1] == ends[name]
            asked = states.index("approval-requested") if "approval-requested" in states else None
            # A refusal needs the question, which is answered at once.
            assert asked is None or (name != "a call that is approved" and states[asked + 1 :])


def _states(seen: Mapping[str, Any]) -> Sequence[str]:
    states: list[str] = seen["states"]["c1"]
    return states


async def test_an_open_approval_is_what_ai_5_refuses(serve: Serve) -> None:
    exchange = EXCHANGES["a call that is approved"]
    served = await serve({"asks": exchange.first})
    silent, says = await tell(
        [Story("5.0.277", "asks", silent=True), Story("5.0.277", "asks")], served.url
    )

    assert silent.cut["status"] == "error"
    assert "tool-approval-request" in silent.cut["error"]
    assert last(says.cut)["parts"][-1]["state"] == "input-available"
