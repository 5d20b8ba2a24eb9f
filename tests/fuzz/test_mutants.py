"""The mutants are those of this core, and hunting them works."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fuzz.breaking.catalogue import MUTANTS
from fuzz.breaking.hunt import Hunt
from fuzz.breaking.mutant import Mutant, mutant

ROOT = Path(__file__).parents[2]

QUICK = ["one-for-all", "failed-notify-ends-notifying"]
"""Their catchers take a second."""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("copy") / "monostream_ai"
    shutil.copytree(ROOT / "monostream_ai", copy)
    return copy


@pytest.mark.parametrize("name", MUTANTS)
def test_the_core_can_be_broken_by(package: Path, name: str) -> None:
    for path, source in MUTANTS[name].apply(package).items():
        changed = path.read_text()
        path.write_text(source)
        assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(source))


@pytest.fixture(scope="module")
def hunt() -> Iterator[Hunt]:
    with Hunt() as hunt:
        yield hunt


@pytest.mark.parametrize("name", QUICK)
def test_somebody_notices(hunt: Hunt, name: str) -> None:
    found = hunt.hunt(MUTANTS[name])
    assert found.verdict == "caught", found.output


def test_a_mutant_that_nobody_notices_survives(hunt: Hunt) -> None:
    harmless = mutant(
        "a-comment",
        "Nothing.",
        "writer.py",
        "class GroupWriter:",
        "# A comment.\nclass GroupWriter:",
        "tests/writing/test_writer.py",
    )
    assert hunt.hunt(harmless).verdict == "survived"


def test_a_catcher_that_fails_on_the_sound_core_proves_nothing(hunt: Hunt) -> None:
    found = hunt.hunt(
        Mutant("x", "Nothing.", MUTANTS["skip-the-fence"].changes, "tests/there_is_no_such_test.py")
    )
    assert found.verdict == "broken"
