from __future__ import annotations

import json
from typing import Any

import pytest

from monostream_ai.ui_messages.partial_json import parse_partial_json

DOCUMENT = r'{"city":"Par\"is \u00e9\n","days":[1,-2.5e3,{"a":[]},true,null],"empty":{},"x":false}'


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"city":"Par', {"city": "Par"}),
        ('{"city":"Par\\', {"city": "Par"}),
        ('{"city":"Par\\u00', {"city": "Par"}),
        ('{"ci', {}),
        ('{"city"', {}),
        ('{"city":', {}),
        ('{"a":1,', {"a": 1}),
        ('{"a":1,"b', {"a": 1}),
        ('{"a":[1,[2,{"b":"c', {"a": [1, [2, {"b": "c"}]]}),
        ('{"a":-', {}),
        ('{"a":1.', {"a": 1}),
        ('{"a":1e', {"a": 1}),
        ('{"a":tr', {"a": True}),
        ('{"a":n', {"a": None}),
        ('"a', "a"),
        ("[", []),
        ('["a",', ["a"]),
        (" {", {}),
    ],
)
def test_the_known_values_of_half_a_document_are_read(text: str, value: Any) -> None:
    assert parse_partial_json(text) == value


@pytest.mark.parametrize(
    "text", ["", " ", "-", "cats", "{'a':1}", '{"a":NaN}', "NaN", '{"a":"\n"', "}"]
)
def test_text_that_is_not_json_has_no_value(text: str) -> None:
    with pytest.raises(ValueError):
        parse_partial_json(text)


@pytest.mark.sweep(20)
@pytest.mark.parametrize("end", range(1, len(DOCUMENT) + 1))
def test_every_beginning_of_a_document_has_a_value(end: int) -> None:
    value = parse_partial_json(DOCUMENT[:end])

    assert isinstance(value, dict)
    assert list(value) == list(json.loads(DOCUMENT))[: len(value)]
