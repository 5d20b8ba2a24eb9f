"""The pages of the tutorial are short, lead on, and name the packages that the steps use."""

from __future__ import annotations

import json
import shlex
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.tutorial.steps import PAGES, ROOT, blocks, command, commands


def test_there_are_ten_short_steps() -> None:
    assert [int(page.name[:2]) for page in PAGES] == [*range(1, 11)]
    assert [page.name for page in PAGES if len(page.read_text().splitlines()) > 100] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_block_is_a_file_or_a_command(page: Path) -> None:
    found = blocks(page)
    assert page.read_text().count("```") == 2 * len(found)
    assert [each for each in found if (each.language == "bash") == bool(each.title)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_step_leads_to_the_next_one(page: Path) -> None:
    following = PAGES[PAGES.index(page) + 1 :][:1]
    assert all(
        "Next: [" in page.read_text() and each.name in page.read_text() for each in following
    )


def test_the_npm_packages_are_those_of_the_chat_example() -> None:
    project = json.loads((ROOT / "examples" / "chat" / "web" / "package.json").read_text())
    used = project["dependencies"] | project["devDependencies"]
    _, _, *named = command(2, "npm install").split()
    packages = [each.rsplit("@", 1) for each in named]
    assert [[name, used[name].partition(".")[0]] for name, _ in packages] == packages


def test_the_image_has_the_packages_that_the_steps_install() -> None:
    [image] = [each.text for each in blocks(PAGES[9]) if each.title == "Dockerfile"]
    [line] = [each for each in image.splitlines() if each.startswith("RUN pip install")]
    lines = [each for step in range(1, 11) for each in commands(step) if "pip install" in each]
    installed = {name for each in lines for name in shlex.split(each)[2:]}
    assert set(shlex.split(line)[4:]) == installed - {"pytest", "pytest-asyncio"}
    # The tests install the code under its own name, without the package that only requires it.
    packages = {name.partition("[")[0] for name in installed} - {"monostream-ai"}
    assert all(version(name) for name in packages)
