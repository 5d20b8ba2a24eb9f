"""The README is short, starts with a server that runs, and reads on PyPI as it does in the
repository.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Final

import nbformat
import pytest

import monostream_ai
from notebooks.execute import PICTURES, first_picture, notebooks
from tests.pages import ROOT, blocks_of

README: Final = (ROOT / "README.md").read_text()
REPOSITORY: Final = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"][
    "metadata"
]["hooks"]["custom"]["repository"]
TARGET: Final = re.compile(r"\]\(([^)]+)\)")

BUILD: Final = """
import sys
from hatchling.builders.wheel import WheelBuilder
builder = WheelBuilder(sys.argv[1])
print(builder.metadata.core.readme)
print(*builder.metadata.core.urls.values())
"""


@pytest.fixture(scope="module")
def published() -> str:
    """The README and the project's URLs, as they go into the metadata that PyPI shows."""
    built = subprocess.run(
        [sys.executable, "-c", BUILD, str(ROOT)], capture_output=True, text=True, check=True
    )
    return built.stdout


def test_the_readme_can_be_read_in_one_sitting() -> None:
    assert 150 <= len(README.splitlines()) <= 220


def test_the_first_program_starts_by_line_20() -> None:
    assert [block for block in blocks_of(ROOT / "README.md") if block.language == "python"][
        0
    ].line <= 20


def test_every_link_of_the_pypi_page_is_absolute_and_leads_to_a_file(published: str) -> None:
    targets = TARGET.findall(published)
    assert len(targets) == len(TARGET.findall(README)) > 40
    assert [target for target in targets if not target.startswith("https://")] == []
    ours = [target for target in targets if target.startswith(REPOSITORY)]
    paths = [re.sub(r"^/(raw|blob)/main/", "", each.removeprefix(REPOSITORY)) for each in ours]
    assert [path for path in paths if not (ROOT / path.partition("#")[0]).exists()] == []


def test_the_pypi_page_shows_the_picture_and_no_comment(published: str) -> None:
    assert f"]({REPOSITORY}/raw/main/docs/images/crash.png)" in published
    assert "<!--" not in published


def test_the_urls_of_the_project_are_made_of_one_address(published: str) -> None:
    urls = published.splitlines()[-1].split()
    assert urls and all(url.startswith(REPOSITORY) for url in urls)


def test_the_address_of_the_repository_is_written_once_for_each_registry() -> None:
    listed = subprocess.run(
        ["git", "grep", "--untracked", "-lF", REPOSITORY], cwd=ROOT, capture_output=True, text=True
    )
    npm = "packages/reconnecting-transport/package.json"
    assert listed.stdout.split() == [npm, "pyproject.toml"]


@pytest.mark.parametrize("path", [path for path in notebooks() if path.name in PICTURES])
def test_the_picture_is_the_one_that_its_notebook_shows(path: Path) -> None:
    shown = first_picture(nbformat.read(path, as_version=4))
    assert PICTURES[path.name].read_bytes() == shown


def test_the_version_is_that_of_the_installed_package() -> None:
    assert monostream_ai.__version__ == version("monostream-ai-slim")


def test_the_command_says_the_version() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "monostream_ai.cli", "--version"], capture_output=True, text=True
    )
    assert said.stdout.split()[-1] == monostream_ai.__version__
