"""G10: any JSON value comes back as it was, on every store."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from monostream_ai import DurableStreamService
from monostream_ai.errors import MonostreamError
from monostream_ai.stores.forwarding import ForwardingStore
from monostream_ai.types import Append
from tests.chunks import FINISH, Chunk
from tests.plugins.services import ServiceFactory

Service = DurableStreamService[Chunk]

VALUES: list[Any] = [
    None,
    True,
    0,
    -0.0,
    2**53 + 1,
    -(2**63) - 1,
    10**40,
    0.1,
    5e-324,
    sys.float_info.max,
    "",
    "\0",
    "a\0b\x01\x1f\x7f\x85",
    "\ud800",
    "\udc00\ud800",
    "\u2028\u2029\ufeff\uffff",
    "👩\u200d👩\u200d👧 e\u0301 \u202e",
    "</script>' \" \\ \\u0000 %s :x $1",
    [],
    {},
    [[[[]]], [None, {"": {}}]],
    {"b": 1, "a": 2, "": 3, "\0": 4, "\ud800": 5, "10": 6, "9": 7},
    {"__proto__": 1, "constructor": 2},
    "x" * 500_000,
]


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal with their types and the order of their keys; `==` takes 1, 1.0
    and True for equal.
    """
    return repr(one) == repr(other)


async def check_that_values_come_back(writer: Service, reader: Service) -> None:
    chunks: list[Chunk] = [{"type": "text", "n": value} for value in VALUES]
    subscription = reader.subscribe("s")
    async with writer.publisher("s") as pub:
        for chunk in chunks:
            await pub.write(chunk)
            assert same(await anext(subscription), chunk)
    assert [chunk async for chunk in subscription] == [FINISH]
    assert same([chunk async for chunk in reader.subscribe("s")], [*chunks, FINISH])
    assert same(await reader.chunks("s"), [*chunks, FINISH])


class Normalising(ForwardingStore):
    """Sorts keys and turns integers into doubles, as a JSON column of some databases does."""

    async def append(
        self, appends: Sequence[Append], *, lease: float
    ) -> list[MonostreamError | None]:
        normal = [
            replace(append, payloads=[normalise(payload) for payload in append.payloads])
            for append in appends
        ]
        return await super().append(normal, lease=lease)


def normalise(payload: str) -> str:
    return json.dumps(json.loads(payload, parse_int=float), sort_keys=True)


async def test_any_value_comes_back_in_another_process(service_factory: ServiceFactory) -> None:
    await check_that_values_come_back(service_factory(), service_factory())


async def test_any_value_comes_back_in_the_same_process(service: Service) -> None:
    await check_that_values_come_back(service, service)


async def test_the_check_for_g10_notices_a_store_that_normalises(
    service_factory: ServiceFactory,
) -> None:
    with pytest.raises(AssertionError):
        await check_that_values_come_back(
            service_factory(wrap_store=Normalising), service_factory()
        )


async def test_the_request_of_a_version_comes_back(service: Service) -> None:
    for number, value in enumerate(VALUES):
        async with service.publisher(f"s{number}", request={"value": value}, metadata=[value]):
            status = await service.status(f"s{number}")
        assert status.metadata is not None
        assert same(await service.request(f"s{number}", 0), {"value": value})
        assert same(json.loads(status.metadata), [value])
