"""monostream-ai has no code: it requires monostream-ai-slim of its version, with some extras."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest
from hatchling.metadata.core import CoreMetadata, ProjectMetadata
from hatchling.plugin.manager import PluginManager
from packaging.requirements import Requirement

ROOT: Final = Path(__file__).parents[2]
WHOLE: Final = ROOT / "packages" / "monostream-ai"


def built(folder: Path) -> CoreMetadata:
    project = ProjectMetadata(str(folder), PluginManager())
    project.validate_fields()
    return project.core


@pytest.fixture(scope="module")
def slim() -> CoreMetadata:
    return built(ROOT)


@pytest.fixture(scope="module")
def whole() -> CoreMetadata:
    return built(WHOLE)


def test_the_slim_package_brings_nothing(slim: CoreMetadata) -> None:
    assert slim.dependencies == []


def test_the_whole_package_brings_what_the_quick_start_needs(
    slim: CoreMetadata, whole: CoreMetadata
) -> None:
    [needed] = map(Requirement, whole.dependencies)

    assert (needed.name, str(needed.specifier)) == (slim.name, f"=={slim.version}")
    assert needed.extras == {"fastapi", "langchain", "postgres", "sqlite"}


def test_both_have_the_same_version_extras_and_page(
    slim: CoreMetadata, whole: CoreMetadata
) -> None:
    assert whole.version == slim.version
    assert (whole.readme, whole.urls) == (slim.readme, slim.urls)
    assert whole.requires_python == slim.requires_python
    assert whole.optional_dependencies == {
        extra: [f"{slim.name}[{extra}]=={slim.version}"] for extra in slim.optional_dependencies
    }


def test_all_extras_are_those_that_run_with_each_other(slim: CoreMetadata) -> None:
    """The extra `all` has the default ones, and the SDKs that go together."""
    extras = slim.optional_dependencies
    assert {name for name in extras if set(extras[name]) <= set(extras["all"])} == {
        *("all", "anthropic", "asgi", "cli", "fastapi", "langchain", "openai", "opentelemetry"),
        *("postgres", "redis", "sqlite"),
    }


def test_the_page_tells_what_each_extra_brings(slim: CoreMetadata) -> None:
    page = (ROOT / "docs" / "install.md").read_text()
    rows = dict(re.findall(r"^\| `([\w-]+)` \| (.*?) \|", page, re.MULTILINE))

    assert rows.keys() == slim.optional_dependencies.keys()
    for extra, brought in slim.optional_dependencies.items():
        if extra != "all":
            assert rows[extra] == ", ".join(f"`{Requirement(each).name}`" for each in brought)


def test_both_have_the_license_of_the_repository() -> None:
    assert (WHOLE / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
