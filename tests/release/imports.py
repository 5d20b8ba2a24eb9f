"""Imports each module where only some extras of monostream-ai-slim are installed: one that lacks a
package names the extra which brings it, and all others work.

scripts/check-wheel runs it in environments with nothing but the wheel and the extra it is told;
with `--extras` it lists those to try.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Collection
from importlib import import_module
from importlib.metadata import distributions, metadata
from pathlib import Path
from typing import Final

import monostream_ai
from monostream_ai import create_service
from monostream_ai.errors import MissingExtra

NEEDS: Final = {
    "chats": ("asgi",),
    "fastapi": ("fastapi",),
    "langchain": ("langchain",),
    "notifiers.postgres": ("postgres",),
    "notifiers.redis": ("redis",),
    "notifiers.sqlite": ("sqlite",),
    "opentelemetry": ("opentelemetry",),
    "pydantic_ai": ("pydantic-ai",),
    "stores.postgres": ("postgres",),
    "stores.sql": ("sqlite", "postgres"),
    "stores.sqlite": ("sqlite",),
    "testing.anthropic": ("anthropic",),
    "testing.langchain": ("langchain",),
    "testing.openai": ("openai",),
}
"""Modules and packages that need one of these extras; all others need none."""

PROGRAM: Final = "cli"
"""The extra of the command, which is no module to import."""

SDKS: Final = {"ag-ui", "anthropic", "google-genai", "litellm", "openai-agents"}
"""Extras with an SDK that no module imports."""

ALSO_BRINGS: Final = {"fastapi": ["asgi"]}
BROUGHT_BY_OTHERS: Final = {"opentelemetry": "opentelemetry-api"}
"""Extras with the package by which they are there: some releases of FastAPI and Pydantic AI need
it.
"""

NOT_IMPORTED: Final = re.compile(r"cli\.|testing\.(\w+_suite|store_cases|pytest_plugin)")
"""Modules of the command, and those that need pytest."""

URLS: Final = {
    "sqlite": "sqlite:///{}/chat.db",
    "postgres": "postgresql://localhost/chat",
    "redis": "memory://",
}


def extras() -> list[str]:
    """Return the extras to try, each of which some module needs."""
    needed = {extra for each in NEEDS.values() for extra in each} | {PROGRAM}
    provided = metadata("monostream-ai-slim").get_all("Provides-Extra", [])
    assert needed | SDKS | {"all"} == set(provided), provided
    return sorted(needed)


def modules() -> list[str]:
    root = Path(monostream_ai.__file__).parent
    paths = [path.relative_to(root).with_suffix("") for path in root.rglob("*.py")]
    names = [".".join(path.parts).removesuffix("__init__").rstrip(".") for path in paths]
    return sorted(name for name in names if name and not NOT_IMPORTED.match(name))


def needed_by(module: str) -> tuple[str, ...]:
    parents = [module[: match.start()] for match in re.finditer(r"\.|$", module)]
    return next((NEEDS[each] for each in reversed(parents) if each in NEEDS), ())


def check_imports(installed: Collection[str]) -> Counter[str]:
    """Import each module; return how many need which extras that are not there."""
    lacking: Counter[str] = Counter()
    for module in modules():
        needed = needed_by(module)
        there = not needed or not set(needed).isdisjoint(installed)
        try:
            import_module(f"monostream_ai.{module}")
        except MissingExtra as error:
            assert not there, (module, error)
            assert needed == error.extras, (module, error)
            choice = " or ".join(f'"monostream-ai-slim[{extra}]"' for extra in needed)
            assert str(error).endswith(f": pip install {choice}"), error
            lacking[" or ".join(needed)] += 1
        else:
            assert there, f"{module} needs none of {needed}"
    return lacking


async def check_service(url: str) -> None:
    async with create_service(url) as service:
        async with service.publisher("s") as pub:
            await pub.write({"type": "text-start", "id": "t"})
        types = [chunk["type"] async for chunk in service.subscribe("s")]
    assert types == ["text-start", "text-end", "finish"], types


def check_services(installed: Collection[str]) -> None:
    """Use memory, and each database of which the extra is there; the others name it."""
    asyncio.run(check_service("memory://"))
    for extra, template in URLS.items():
        notifier = "redis://localhost" if extra == "redis" else None
        with tempfile.TemporaryDirectory() as folder:
            url = template.format(folder)
            try:
                create_service(url, notifier=notifier)
            except MissingExtra as error:
                assert extra not in installed and error.extras == (extra,), error
            else:
                assert extra in installed, extra
            if extra == "sqlite" and extra in installed:
                asyncio.run(check_service(url))


def check_command(installed: Collection[str]) -> None:
    command = Path(sys.executable).parent / "monostream-ai"
    done = subprocess.run([command, "--version"], capture_output=True, text=True)
    if PROGRAM in installed:
        assert done.stdout.split()[-1] == monostream_ai.__version__, done
    else:
        assert done.returncode == 1, done
        assert done.stderr.endswith('pip install "monostream-ai-slim[cli]"\n'), done
    # Where a command needs a database, it says so in one line.
    url = "postgresql://127.0.0.1:1/chat"
    listed = subprocess.run([command, "ls", "--url", url], capture_output=True, text=True)
    assert listed.returncode == 1 and listed.stderr.count("\n") == 1, listed


def main(installed: list[str]) -> None:
    brought = [extra for each in installed for extra in ALSO_BRINGS.get(each, [])]
    names = {each.metadata["Name"] for each in distributions()}
    brought += [extra for extra, package in BROUGHT_BY_OTHERS.items() if package in names]
    lacking = check_imports({*installed, *brought})
    check_services(installed)
    check_command(installed)
    there = list(distributions())
    size = sum(file.locate().stat().st_size for each in there for file in each.files or [])  # type: ignore[attr-defined]
    name = f"monostream-ai-slim[{','.join(installed)}]".removesuffix("[]")
    print(
        f"{name}: {len(modules()) - lacking.total()} of {len(modules())} modules, with"
        f" {len(there)} packages of {size / 1e6:.0f} MB; others need",
        ", ".join(f"{extras} ({count})" for extras, count in sorted(lacking.items())),
    )


if __name__ == "__main__":
    if sys.argv[1:] == ["--extras"]:
        print(*extras())
    else:
        main([extra for extra in sys.argv[1:] if extra])
