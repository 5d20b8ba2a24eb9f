from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import monostream_ai

OUTSIDE = set(
    (
        "agents aiosqlite anthropic asyncpg click fastapi google langchain_core langgraph openai "
        "pydantic pydantic_ai redis rich sqlalchemy starlette"
    ).split()
)
FACES = (
    "monostream_ai",
    *(
        f"monostream_ai.{name}"
        for name in (
            "anthropic",
            "fastapi",
            "google_genai",
            "langchain",
            "openai",
            "openai_agents",
            "pydantic_ai",
            "recording",
            "testing",
            "ui_messages",
        )
    ),
)


def loaded_by(statement: str) -> set[str]:
    """Return the outside packages that a new interpreter has loaded after the statement."""
    script = f"{statement}\nimport sys\nprint(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout.split()
    return {name.partition(".")[0] for name in loaded} & OUTSIDE


def test_importing_the_package_loads_no_outside_package() -> None:
    assert loaded_by("import monostream_ai") == set()


def test_a_memory_service_loads_no_outside_package() -> None:
    assert (
        loaded_by("from monostream_ai import create_service; create_service('memory://')") == set()
    )


def test_the_chat_routes_load_langchain_only_when_a_turn_asks_for_it() -> None:
    assert loaded_by("import monostream_ai.fastapi") == {"fastapi", "pydantic", "starlette"}


@pytest.mark.parametrize(
    "name", ["anthropic", "google_genai", "openai", "openai_agents", "pydantic_ai", "recording"]
)
def test_a_capture_loads_no_outside_package(name: str) -> None:
    assert loaded_by(f"import monostream_ai.{name}") == set()


@pytest.mark.parametrize("name", FACES)
def test_public_names_are_listed_sorted_and_exist(name: str) -> None:
    module = importlib.import_module(name)

    assert module.__all__ == sorted(module.__all__)
    assert [public for public in module.__all__ if not hasattr(module, public)] == []


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(monostream_ai.__file__).parent / "py.typed").exists()
