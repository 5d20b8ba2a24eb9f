from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.clients.reading import ReadAll
from tests.programs import tell

HERE = Path(__file__).parent


@pytest.fixture
def packages() -> Path:
    """The directory of the npm packages."""
    if shutil.which("node") is None or not (HERE / "node_modules").exists():
        pytest.skip("needs Node.js and `npm ci` in tests/clients")
    return HERE / "node_modules"


@pytest.fixture
def read_all(packages: Path) -> ReadAll:
    """Let the real clients read chunks; read.mjs describes the requests and the answers."""

    return lambda requests: tell(HERE / "read.mjs", requests)
