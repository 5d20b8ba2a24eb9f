from __future__ import annotations

import importlib
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import monostream_ai
from monostream_ai import errors
from monostream_ai.ui_messages import Chunk

OUTSIDE = set(
    (
        "ag_ui agents aiosqlite anthropic asyncpg click fastapi google langchain_core langgraph "
        "openai pydantic pydantic_ai redis rich sqlalchemy starlette"
    ).split()
)
FACES = (
    "monostream_ai",
    *(
        f"monostream_ai.{name}"
        for name in (
            "ag_ui",
            "anthropic",
            "chats",
            "fastapi",
            "google_genai",
            "langchain",
            "openai",
            "openai_agents",
            "recording",
            "testing",
            "ui_messages",
            # It imports its SDK, which is missing where the oldest releases are tested.
            *(["pydantic_ai"] if find_spec("pydantic_ai") else []),
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


def test_chats_load_starlette_and_nothing_else() -> None:
    assert loaded_by("import monostream_ai.chats") == {"starlette"}


def test_the_chat_routes_load_langchain_only_when_a_turn_asks_for_it() -> None:
    assert loaded_by("import monostream_ai.fastapi") == {"fastapi", "pydantic", "starlette"}


@pytest.mark.parametrize(
    "name", ["ag_ui", "anthropic", "google_genai", "openai", "openai_agents", "recording"]
)
def test_a_capture_loads_no_outside_package(name: str) -> None:
    assert loaded_by(f"import monostream_ai.{name}") == set()


@pytest.mark.parametrize("name", FACES)
def test_public_names_are_listed_sorted_and_exist(name: str) -> None:
    module = importlib.import_module(name)

    assert module.__all__ == sorted(module.__all__)
    assert [public for public in module.__all__ if not hasattr(module, public)] == []


def test_every_error_can_be_imported_from_the_package() -> None:
    classes = [value for value in vars(errors).values() if isinstance(value, type)]
    defined = {each.__name__ for each in classes if issubclass(each, errors.MonostreamError)}
    assert len(defined) > 40
    assert defined <= set(monostream_ai.__all__)


def test_the_type_of_a_chunk_is_one_and_the_same() -> None:
    assert monostream_ai.Chunk is Chunk


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(monostream_ai.__file__).parent / "py.typed").exists()


def error_of(statement: str, *, without: str) -> str:
    """Return the last line of a new interpreter that lacks a package."""
    script = f"import sys; sys.modules[{without!r}] = None; {statement}"
    failed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert failed.returncode == 1
    return failed.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("module", "package", "extra"),
    [
        ("chats", "starlette", "asgi"),
        ("fastapi", "fastapi", "fastapi"),
        ("langchain", "langchain_core", "langchain"),
        ("notifiers.postgres", "sqlalchemy", "postgres"),
        ("notifiers.redis", "redis", "redis"),
        ("notifiers.sqlite", "sqlalchemy", "sqlite"),
        ("opentelemetry", "opentelemetry", "opentelemetry"),
        ("pydantic_ai", "pydantic_ai", "pydantic-ai"),
        ("stores.postgres.store", "asyncpg", "postgres"),
        ("stores.sqlite.store", "aiosqlite", "sqlite"),
        ("testing.anthropic", "anthropic", "anthropic"),
        ("testing.langchain", "langchain_core", "langchain"),
        ("testing.openai", "openai", "openai"),
    ],
)
def test_a_missing_package_names_the_extra_that_brings_it(
    module: str, package: str, extra: str
) -> None:
    said = error_of(f"import monostream_ai.{module}", without=package)

    assert said.startswith("monostream_ai.errors.MissingExtra: monostream_ai.")
    assert said.endswith(f': pip install "monostream-ai-slim[{extra}]"')


def test_the_tables_can_come_with_either_of_two_extras() -> None:
    said = error_of("import monostream_ai.stores.sql", without="sqlalchemy")

    assert said.endswith('"monostream-ai-slim[sqlite]" or "monostream-ai-slim[postgres]"')


@pytest.mark.parametrize(
    ("arguments", "package", "extra"),
    [
        ("'sqlite:///chat.db'", "aiosqlite", "sqlite"),
        ("'postgresql://localhost/chat'", "asyncpg", "postgres"),
        ("'memory://', notifier='redis://localhost'", "redis", "redis"),
    ],
    ids=["sqlite", "postgres", "redis"],
)
def test_a_url_names_the_extra_that_it_needs(arguments: str, package: str, extra: str) -> None:
    said = error_of(
        f"import monostream_ai; monostream_ai.create_service({arguments})", without=package
    )

    assert said.endswith(f'"monostream-ai-slim[{extra}]"')
