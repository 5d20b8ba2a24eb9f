from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.clients.programs import close_all
from tests.clients.reading import ReadAll

HERE = Path(__file__).parent


@pytest.fixture
def packages() -> Path:
    """The directory of the npm packages."""
    if shutil.which("node") is None or not (HERE / "node_modules").exists():
        pytest.skip("needs Node.js and `npm ci` in tests/clients")
    return HERE / "node_modules"


@pytest.fixture(scope="session", autouse=True)
def no_program_is_left() -> Iterator[None]:
    yield
    close_all()


@pytest.fixture
def read_all(packages: Path) -> ReadAll:
    """Let the real clients read chunks; read.mjs describes the requests and the answers."""

    def read(requests: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        lines = "".join(json.dumps(request) + "\n" for request in requests)
        done = subprocess.run(
            ["node", "read.mjs"],
            cwd=HERE,
            input=lines,
            capture_output=True,
            text=True,
            timeout=120.0,
        )
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.split("\n") if line]

    return read
