"""Every breakage fits the core as it is now, and hunting one works."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fuzz.breaking.hunt import ROOT, Hunt
from fuzz.breaking.table import BREAKAGES, HARMLESS


@pytest.mark.parametrize("name", BREAKAGES)
def test_the_core_can_be_broken_by(name: str) -> None:
    breakage = BREAKAGES[name]
    _, _, original = breakage.resolve()
    assert breakage.broken() != original
    if callable(original):
        insist_on_its_arguments(original, breakage.replacement)


def insist_on_its_arguments(original: Callable[..., Any], replacement: Callable[..., Any]) -> None:
    """Fail unless the replacement takes what the original takes, after the original itself."""
    parameters = inspect.signature(original).parameters.values()
    positional = [each for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD]
    named = {each.name: each for each in parameters if each.kind is each.KEYWORD_ONLY}
    inspect.signature(replacement).bind(original, *positional, **named)


def test_each_guarantee_is_broken_by_something() -> None:
    broken = {each.guarantee for each in BREAKAGES.values()}
    assert broken == {f"G{number}" for number in range(1, 11)}


def test_the_catchers_are_there() -> None:
    words = {word for each in BREAKAGES.values() for word in each.noticed_by.split()}
    paths = {word for word in words if word.endswith(".py")}
    assert {path for path in paths if not (ROOT / path).exists()} == set()


def test_a_name_that_is_gone_is_an_error() -> None:
    with pytest.raises(KeyError):
        replace(HARMLESS, target="_writing.outbox.Outbox.no_such_method").broken()
    with pytest.raises(AttributeError):
        replace(HARMLESS, target="_writing.outbox.NoSuchClass.put").broken()


QUICK = "fuzz/mem.py --only live,lost-answers --scenarios 200"


@pytest.fixture(scope="module")
def hunt() -> Hunt:
    return Hunt()


def test_a_fuzzer_catches_a_breakage(hunt: Hunt) -> None:
    found = hunt.hunt(BREAKAGES["acknowledged-before-stored"], QUICK)
    assert found.verdict == "caught", found.output


def test_a_test_catches_a_breakage(hunt: Hunt) -> None:
    found = hunt.hunt(BREAKAGES["renewals-end-with-an-error"])
    assert found.verdict == "caught", found.output


def test_a_harmless_breakage_survives(hunt: Hunt) -> None:
    found = hunt.hunt(HARMLESS, QUICK)
    assert found.verdict == "survived", found.output


def test_a_catcher_that_fails_on_the_sound_core_proves_nothing(hunt: Hunt) -> None:
    found = hunt.hunt(BREAKAGES["fence-skipped"], "fuzz/mem.py --only no-such-scenario")
    assert found.verdict == "broken"
