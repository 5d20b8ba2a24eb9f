"""Values that break naive encoders, and very large ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from fuzz.chunks import odd_chunk
from fuzz.reader import Reader, all_ended
from fuzz.world import World
from fuzz.writer import opened
from monostream_ai.errors import ChunkTooLarge, InvalidChunk
from monostream_ai.json_text import encode_json
from monostream_ai.types import MAX_CHUNK_BYTES


async def odd_payloads(world: World) -> None:
    """Every JSON value comes back as it was; other values are refused and leave no trace."""
    readers = [Reader(world, world.service(n)) for n in range(world.few("readers", 1, 3))]
    draws = world.actor("writer")
    chunks = [odd_chunk(draws, n) for n in range(draws.number("chunks", 1, 8))]
    async with world.service().publisher(
        world.stream, request=chunks[0], metadata=chunks[-1]
    ) as pub:
        opened(world, pub, chunks, finished=True)
        for chunk in chunks:
            if draws.chance("refused too", 30):
                await world.require_refusal(
                    pub.write(chunk, draws.choice("bad", BAD)),
                    InvalidChunk,
                    ChunkTooLarge,
                    complaint="a chunk that is not JSON, or too large, was stored",
                )
            await pub.write(chunk)
            await world.pause(draws)
    await all_ended(readers)
    back = await world.service(1).chunks(world.stream)
    world.require(
        list(map(encode_json, back)) == world.truth[pub.version].payloads,
        "chunks() returned other chunks",
    )
    info = await world.service(1).status(world.stream)
    # A service decodes a large request in a thread, which virtual time does not have.
    asked = await world.site.store(1).request(world.stream, info.version)
    told = (asked, info.metadata) == (encode_json(chunks[0]), encode_json(chunks[-1]))
    world.require(told, "the request or the metadata came back changed")
    await world.verify()


BAD: Final[Sequence[Any]] = (
    {"type": "bad", "value": float("nan")},
    {"type": "bad", "value": [float("-inf")]},
    {"type": "bad", 1: 2},
    {"type": "bad", "value": b"bytes"},
    {"type": "bad", "value": "x" * MAX_CHUNK_BYTES},
)
