from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel, ConfigDict

from monostream_ai.ui_messages import check_chunk, to_json_value


class Colour(Enum):
    RED = "red"


class Rank(IntEnum):
    FIRST = 1


class City(BaseModel):
    name: str
    founded: date


class Odd(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    thing: Any


@dataclass
class Point:
    x: int
    tags: set[str]


class Unknown:
    def __str__(self) -> str:
        return "unknown"


@pytest.mark.parametrize(
    ("value", "result"),
    [
        (None, None),
        (True, True),
        (1.5, 1.5),
        (float("nan"), None),
        (float("-inf"), None),
        (2**53 - 1, 2**53 - 1),
        (2**53, "9007199254740992"),
        (Colour.RED, "red"),
        (Rank.FIRST, 1),
        (Decimal("1.50"), "1.50"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (datetime(2026, 1, 2, 3, 4, tzinfo=UTC), "2026-01-02T03:04:00+00:00"),
        (time(3, 4), "03:04:00"),
        (b"\xff", "/w=="),
        (PurePosixPath("a/b"), "a/b"),
        ((1, [2]), [1, [2]]),
        ({1: {"a"}}, {"1": ["a"]}),
        (City(name="Rome", founded=date(1, 4, 21)), {"name": "Rome", "founded": "0001-04-21"}),
        (Point(1, {"a"}), {"x": 1, "tags": ["a"]}),
        (Unknown(), "unknown"),
        (
            {"__proto__": 1, "a": {"constructor": {"prototype": 1, "b": 2}}},
            {"a": {"constructor": {"b": 2}}},
        ),
    ],
    ids=str,
)
def test_a_value_becomes_its_closest_json(value: object, result: object) -> None:
    assert to_json_value(value) == result


def test_a_model_that_pydantic_cannot_serialize_becomes_text() -> None:
    assert isinstance(to_json_value(Odd(thing=Unknown())), str)


def test_a_cycle_ends() -> None:
    value: dict[str, Any] = {}
    value["self"] = value

    json.dumps(to_json_value(value))


def test_a_value_that_contains_itself_becomes_its_type_once() -> None:
    parent: dict[str, Any] = {"name": "parent"}
    parent["children"] = [{"of": parent}, {"of": parent}]

    assert to_json_value(parent) == {
        "name": "parent",
        "children": [{"of": "<dict>"}, {"of": "<dict>"}],
    }


def test_objects_that_all_refer_to_each_other_end() -> None:
    things: list[dict[str, Any]] = [{} for _ in range(20)]
    for thing in things:
        thing["others"] = list(things)

    assert isinstance(to_json_value(things), list)


class Mute:
    def __str__(self) -> str:
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("value", "result"), [(Mute(), "<Mute>"), (10**5000, "<int>")], ids=["object", "integer"]
)
def test_a_value_without_text_becomes_its_type(value: object, result: str) -> None:
    assert to_json_value([value]) == [result]


def test_the_result_is_a_value_that_a_chunk_may_hold() -> None:
    tricky: Mapping[Any, Any] = {
        "__proto__": {},
        None: [float("inf")],
        "constructor": {"prototype": {}},
    }

    check_chunk({"type": "data-a", "data": to_json_value(tricky)})
