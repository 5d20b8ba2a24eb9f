"""Bad input gets a named error that says what to do, and leaves nothing half-written."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import pytest

from monostream_ai import DurableStreamService
from monostream_ai.errors import (
    ChunkTooLarge,
    CursorNotFound,
    Fenced,
    InvalidArgument,
    InvalidChunk,
    InvalidCursor,
    InvalidNumber,
    InvalidStreamId,
    InvalidText,
    InvalidVersion,
    InvalidWord,
    PublisherClosed,
    ServiceClosed,
    StreamClosed,
    StreamStopped,
    SubscriptionTimeout,
    UnknownStream,
    VersionConflict,
)
from monostream_ai.types import (
    MAX_CHUNK_BYTES,
    MAX_LIMIT,
    MAX_METADATA_BYTES,
    MAX_REQUEST_BYTES,
    Cursor,
)
from tests.chunks import FINISH, Chunk, text, texts
from tests.plugins.services import ServiceFactory

Service = DurableStreamService[Chunk]

BAD_STREAM_IDS = {
    "empty": "",
    "2049 bytes": "x" * 2049,
    "2050 bytes": "é" * 1025,
    "NUL": "a\0b",
    "surrogate": "\ud800",
    "int": 7,
    "none": None,
}
BAD_VERSIONS = {
    "negative": -1,
    "2**63": 2**63,
    "bool": True,
    "float": 1.0,
    "text": "latest",
    "digits": "1",
}

circular: list[Any] = []
circular.append(circular)
deep: Any = 1
for _ in range(300):
    deep = [deep]

NOT_JSON = {
    "NaN": ({"type": "text", "data": [0, 1, 2, {"score": math.nan}]}, "$.data[3].score"),
    "infinity": ({"type": "text", "score": math.inf}, "$.score"),
    "minus infinity": ({"type": "text", "scores": [0.0, -math.inf]}, "$.scores[1]"),
    "set": ({"type": "text", "tags": {1}}, "$.tags"),
    "bytes": ({"type": "text", "raw": b"x"}, "$.raw"),
    "date": ({"type": "text", "at": datetime(2026, 1, 1)}, "$.at"),
    "object": ({"type": "text", "o": [object()]}, "$.o[0]"),
    "circular": ({"type": "text", "o": circular}, "$.o"),
    "deep": ({"type": "text", "o": deep}, "$.o"),
    "key that is no string": ({"type": "text", "o": {1: "x"}}, "$.o"),
}

STREAM_DOORS: dict[str, Callable[[Service, Any], Awaitable[Any]]] = {
    "publisher": lambda service, stream_id: opened(service, stream_id),
    "subscribe": lambda service, stream_id: first_chunk(service, stream_id),
    "status": lambda service, stream_id: service.status(stream_id),
    "stop": lambda service, stream_id: service.stop(stream_id),
    "end_lost": lambda service, stream_id: service.end_lost(stream_id, 0),
    "chunks": lambda service, stream_id: service.chunks(stream_id),
    "delete": lambda service, stream_id: service.delete(stream_id),
}
VERSION_DOORS: dict[str, Callable[[Service, Any], Awaitable[Any]]] = {
    "publisher": lambda service, version: opened(service, "s", version),
    "status": lambda service, version: service.status("s", version),
    "stop": lambda service, version: service.stop("s", version),
    "end_lost": lambda service, version: service.end_lost("s", version),
    "chunks": lambda service, version: service.chunks("s", version),
}


async def opened(service: Service, stream_id: Any, version: Any = "next") -> None:
    await service.publisher(stream_id, version).open()


async def first_chunk(service: Service, stream_id: Any) -> None:
    await anext(service.subscribe(stream_id))


@pytest.mark.sweep(12)
@pytest.mark.parametrize("backend", ["memory"], indirect=True)
@pytest.mark.parametrize("stream_id", list(BAD_STREAM_IDS.values()), ids=list(BAD_STREAM_IDS))
@pytest.mark.parametrize("door", list(STREAM_DOORS))
async def test_a_bad_stream_id_is_refused(service: Service, door: str, stream_id: Any) -> None:
    with pytest.raises(InvalidStreamId, match="1 to 2048 bytes"):
        await STREAM_DOORS[door](service, stream_id)


@pytest.mark.sweep(10)
@pytest.mark.parametrize("backend", ["memory"], indirect=True)
@pytest.mark.parametrize("version", list(BAD_VERSIONS.values()), ids=list(BAD_VERSIONS))
@pytest.mark.parametrize("door", list(VERSION_DOORS))
async def test_a_bad_version_is_refused(service: Service, door: str, version: Any) -> None:
    with pytest.raises(InvalidVersion, match="0 to 2"):
        await VERSION_DOORS[door](service, version)


BAD_COUNTS = {"bool": True, "float": 1.0, "text": "1", "none": None, "negative": -1, "huge": 2**70}
COUNT_DOORS: dict[str, Callable[[Service, Any], Awaitable[Any]]] = {
    "attempt": lambda service, count: service.publisher("s", attempt=count).open(),
    "streams": lambda service, count: service.streams(limit=count),
    "unattended": lambda service, count: service.unattended(limit=count),
    "versions": lambda service, count: service.versions("s", limit=count),
    "timeline": lambda service, count: service.timeline("s", 0, first=count),
    "timeline limit": lambda service, count: service.timeline("s", 0, limit=count),
}
BAD_SECONDS = {"NaN": math.nan, "infinity": math.inf, "negative": -1.0, "text": "1", "bool": True}
SECONDS_DOORS: dict[str, Callable[[Service, Any], Awaitable[Any]]] = {
    "subscribe": lambda service, seconds: anext(service.subscribe("s", timeout=seconds)),
    "prune": lambda service, seconds: service.prune(older_than=seconds),
    "pruning": lambda service, seconds: service.pruning(older_than=seconds).__aenter__(),
    "pruning every": lambda service, seconds: service.pruning(
        older_than=1, every=seconds
    ).__aenter__(),
    "settle": lambda service, seconds: service.settle("s", 0, never, timeout=seconds),
}
WORD_DOORS: dict[str, Callable[[Service], Awaitable[Any]]] = {
    "on_cancel": lambda service: service.publisher("s", on_cancel="relase").open(),  # type: ignore[arg-type]
    "on_superseded": lambda service: anext(service.subscribe("s", on_superseded="ignore")),  # type: ignore[arg-type]
    "state": lambda service: service.unattended(state="lost"),  # type: ignore[arg-type]
}
BAD_TEXTS = {"NUL": "a\0b", "surrogate": "\ud800", "too long": "x" * 2049, "bytes": b"x"}
TEXT_DOORS: dict[str, Callable[[Service, Any], Awaitable[Any]]] = {
    "owner": lambda service, value: service.publisher("s", owner=value).open(),
    "message id": lambda service, value: service.publisher("s", message_id=value).open(),
    "prefix": lambda service, value: service.streams(prefix=value),
    "after": lambda service, value: service.streams(after=value),
    "unattended prefix": lambda service, value: service.unattended(prefix=value),
}


async def never() -> None:
    raise AssertionError("called all the same")


@pytest.mark.parametrize("backend", ["memory"], indirect=True)
@pytest.mark.parametrize("count", list(BAD_COUNTS.values()), ids=list(BAD_COUNTS))
@pytest.mark.parametrize("door", list(COUNT_DOORS))
async def test_a_bad_count_is_refused(service: Service, door: str, count: Any) -> None:
    with pytest.raises(InvalidNumber, match="use an integer from"):
        await COUNT_DOORS[door](service, count)


@pytest.mark.parametrize("backend", ["memory"], indirect=True)
@pytest.mark.parametrize("seconds", list(BAD_SECONDS.values()), ids=list(BAD_SECONDS))
@pytest.mark.parametrize("door", list(SECONDS_DOORS))
async def test_bad_seconds_are_refused(service: Service, door: str, seconds: Any) -> None:
    with pytest.raises(InvalidNumber, match="use finite seconds"):
        await SECONDS_DOORS[door](service, seconds)


@pytest.mark.parametrize("backend", ["memory"], indirect=True)
@pytest.mark.parametrize("door", list(WORD_DOORS))
async def test_an_unknown_word_is_refused(service: Service, door: str) -> None:
    with pytest.raises(InvalidWord, match="use "):
        await WORD_DOORS[door](service)


@pytest.mark.parametrize("backend", ["memory"], indirect=True)
@pytest.mark.parametrize("value", list(BAD_TEXTS.values()), ids=list(BAD_TEXTS))
@pytest.mark.parametrize("door", list(TEXT_DOORS))
async def test_a_bad_text_is_refused(service: Service, door: str, value: Any) -> None:
    with pytest.raises(InvalidText, match="bytes of UTF-8 without NUL"):
        await TEXT_DOORS[door](service, value)


async def test_values_at_their_limits_are_stored(service: Service) -> None:
    """On each backend: the limits are those of its columns, not of this package's memory."""
    text_value = "é" * 1024
    attempt = 2**31 - 1
    metadata = "x" * (MAX_METADATA_BYTES - 2)
    pub = await service.publisher(
        text_value,
        2**63 - 1,
        owner=text_value,
        message_id=text_value,
        attempt=attempt,
        metadata=metadata,
        request={"big": "é" * 5_000_000},
    ).open()
    await pub.write(FINISH)
    (info,) = await service.streams(prefix=text_value, after="x", limit=MAX_LIMIT)
    assert (info.owner, info.message_id, info.attempt) == (text_value, text_value, attempt)
    assert info.metadata == f'"{metadata}"'
    assert await service.request(text_value, 2**63 - 1) == {"big": "é" * 5_000_000}
    assert await service.timeline(text_value, 2**63 - 1, first=2**63 - 1) == []
    assert await service.versions(text_value, before=2**63 - 1) == []


@pytest.mark.parametrize("backend", ["memory"], indirect=True)
async def test_a_request_or_metadata_over_its_limit_is_refused(service: Service) -> None:
    for name, limit in (("metadata", MAX_METADATA_BYTES), ("request", MAX_REQUEST_BYTES)):
        with pytest.raises(InvalidText, match=f"invalid {name}: it has"):
            service.publisher("s", **{name: "é" * (limit // 2)})
        service.publisher("s", **{name: "x" * (limit - 2)})


@pytest.mark.parametrize(
    "token",
    [
        "",
        "0",
        "0.",
        ".0",
        "a.b",
        "-1.0",
        "0.-2",
        "00.1",
        "0.1 ",
        "0.1\n",
        "١.٢",
        "1.1.1",
        "9" * 30 + ".0",
    ],
)
def test_a_bad_cursor_token_is_refused(token: str) -> None:
    with pytest.raises(InvalidCursor, match="use one that a subscription"):
        Cursor.parse(token)


@pytest.mark.parametrize(("chunk", "path"), list(NOT_JSON.values()), ids=list(NOT_JSON))
async def test_a_chunk_that_is_not_json_is_refused_with_its_path(
    service: Service, chunk: Chunk, path: str
) -> None:
    async with service.publisher("s") as pub:
        with pytest.raises(InvalidChunk) as caught:
            await pub.write(text(0), chunk)
        assert caught.value.path.startswith(path)
        with pytest.raises(InvalidChunk):
            pub.push(text(0), chunk)
        assert await pub.write(text(1)) == 0
    assert await service.chunks("s") == [text(1), FINISH]


async def test_a_chunk_over_the_limit_is_refused_by_its_type(service: Service) -> None:
    frame = len('{"type":"text","n":""}')
    fits = {"type": "text", "n": "é" * ((MAX_CHUNK_BYTES - frame) // 2)}
    too_large = {"type": "text", "n": fits["n"] + "xx"}
    async with service.publisher("s") as pub:
        with pytest.raises(
            ChunkTooLarge, match="text chunk of 104857[78] bytes .* split it"
        ) as caught:
            await pub.write(text(0), too_large)
        assert caught.value.limit == MAX_CHUNK_BYTES
        with pytest.raises(ChunkTooLarge):
            pub.push(too_large)
        assert await pub.write(fits) == 0
    assert await service.chunks("s") == [fits, FINISH]


@pytest.mark.parametrize(
    "options",
    [{"request": math.nan}, {"metadata": {1: 2}}, {"request": object()}],
    ids=["NaN", "key that is no string", "object"],
)
async def test_request_and_metadata_that_are_not_json_are_refused(
    service: Service, options: dict[str, Any]
) -> None:
    with pytest.raises(InvalidChunk):
        await service.publisher("s", **options).open()
    with pytest.raises(UnknownStream):
        await service.status("s")


async def test_a_publisher_writes_only_after_it_was_opened(service: Service) -> None:
    pub = service.publisher("s")
    with pytest.raises(PublisherClosed, match="async with"):
        await pub.write(text(0))
    with pytest.raises(PublisherClosed, match="async with"):
        pub.push(text(0))
    with pytest.raises(PublisherClosed, match="async with"):
        _ = pub.version


async def test_nothing_is_written_after_the_close(service: Service) -> None:
    async with service.publisher("s") as pub:
        await pub.write(text(0), FINISH)
        assert pub.closed
        with pytest.raises(StreamClosed):
            await pub.write(text(1))
        pub.push(text(1))
    with pytest.raises(StreamClosed):
        await pub.write(text(2))
    await pub.close()
    assert await service.chunks("s") == [text(0), FINISH]


async def test_nothing_is_written_behind_a_terminal_chunk_of_the_same_call(
    service: Service,
) -> None:
    async with service.publisher("s") as pub:
        with pytest.raises(InvalidChunk, match="follows a terminal finish chunk"):
            await pub.write(text(0), FINISH, text(1))
        await pub.write(text(2))
    assert await service.chunks("s") == [text(2), FINISH]


async def test_nothing_is_written_after_a_stop(service: Service) -> None:
    pub = await service.publisher("s").open()
    await service.stop("s")
    with pytest.raises(StreamStopped, match="was stopped"):
        await pub.write(text(0))
    assert await service.chunks("s") == [{"type": "abort"}]


async def test_nothing_is_written_after_a_newer_version(service: Service) -> None:
    old = await service.publisher("s").open()
    async with service.publisher("s") as new:
        with pytest.raises(Fenced, match="fenced by version 1"):
            await old.write(text(0))
        await new.write(text(1))
    assert await service.chunks("s") == [text(1), FINISH]


async def test_a_version_that_exists_is_refused_with_advice(service: Service) -> None:
    async with service.publisher("s", 4):
        with pytest.raises(VersionConflict, match="use version='next'"):
            await service.publisher("s", 4).open()


async def test_an_unknown_stream_is_named_or_nothing_happens(service: Service) -> None:
    for ask in (service.status, service.chunks):
        with pytest.raises(UnknownStream, match="there is no stream 'unknown'"):
            await ask("unknown")
    assert await service.stop("unknown") is False
    assert await service.delete("unknown") is False
    assert await service.end_lost("unknown", 0) is False
    with pytest.raises(SubscriptionTimeout):
        await anext(service.subscribe("unknown", timeout=0.05))


async def test_an_unknown_version_is_named(service: Service) -> None:
    async with service.publisher("s"):
        pass
    for ask in (service.status, service.chunks):
        with pytest.raises(UnknownStream):
            await ask("s", 7)
    assert await service.stop("s", 7) is False


@pytest.mark.parametrize(
    "after", [Cursor(-1, 0), Cursor(0, -2), Cursor(0, 2**63), Cursor(2**63, 0)], ids=str
)
async def test_a_bad_cursor_is_refused(service: Service, after: Cursor) -> None:
    with pytest.raises((InvalidArgument, CursorNotFound)):
        await anext(service.subscribe("s", after=after))


@pytest.mark.parametrize("backend", ["memory"], indirect=True)
@pytest.mark.parametrize("option", ["lease", "poll_interval", "outage_timeout"])
@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan])
async def test_a_duration_that_cannot_be_is_refused(
    service_factory: ServiceFactory, option: str, seconds: float
) -> None:
    with pytest.raises(ValueError, match=option):
        service_factory(**{option: seconds})


async def test_a_closed_service_says_so(service_factory: ServiceFactory) -> None:
    service = service_factory()
    async with service.publisher("s") as pub:
        await pub.write(*texts(2))
    await service.aclose()
    await service.aclose()
    for door in STREAM_DOORS.values():
        with pytest.raises(ServiceClosed):
            await door(service, "s")


@pytest.mark.parametrize("name", ["owner", "message_id"])
@pytest.mark.parametrize(
    "text",
    ["x" * 2049, "é" * 1025, "a\0b", "\ud800", 7],
    ids=["long", "wide", "NUL", "half", "int"],
)
async def test_a_name_that_no_row_can_hold_is_refused_before_anything_is_stored(
    service_factory: ServiceFactory, name: str, text: Any
) -> None:
    async with service_factory() as service:
        with pytest.raises(InvalidText, match=name.replace("_", " ")):
            service.publisher("s", **{name: text})
        async with service.publisher("s", **{name: "x" * 2048}):
            pass
        assert [info.version for info in await service.versions("s")] == [0]
