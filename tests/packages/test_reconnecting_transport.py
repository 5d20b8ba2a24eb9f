"""The npm package of the reconnecting transport: its own tests with each `ai`, and its contents."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).parents[2]
PACKAGE: Final = ROOT / "packages" / "reconnecting-transport"
DESCRIBED: Final = json.loads((PACKAGE / "package.json").read_text())
RELEASES: Final = sorted(name for name in DESCRIBED["devDependencies"] if name.startswith("ai-"))


def run(*command: str, cwd: Path = PACKAGE) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=100.0)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built() -> Path:
    """The folder of the package, built from its sources."""
    if shutil.which("npm") is None or not (PACKAGE / "node_modules").exists():
        pytest.skip("needs Node.js and `npm ci` in packages/reconnecting-transport")
    shutil.rmtree(PACKAGE / "dist", ignore_errors=True)
    run("npm", "run", "build")
    return PACKAGE


@pytest.mark.parametrize("release", RELEASES)
def test_the_transport_works_with_each_release_of_ai(release: str, built: Path) -> None:
    assert "fail 0" in run("node", "test/releases.mjs", release)


def test_the_package_holds_its_source_its_types_and_no_tests(built: Path, tmp_path: Path) -> None:
    [packed] = json.loads(
        run("npm", "pack", "--json", "--ignore-scripts", "--pack-destination", str(tmp_path))
    )

    assert {file["path"] for file in packed["files"]} == {
        "LICENSE",
        "README.md",
        "dist/reconnecting-transport.d.ts",
        "dist/reconnecting-transport.js",
        "package.json",
        "src/reconnecting-transport.ts",
    }
    named = exported(DESCRIBED["exports"])
    assert [path for path in named if not (built / path).exists()] == []


def exported(exports: Any) -> list[str]:
    """Return all paths that the exports of a package name, whatever their conditions."""
    if isinstance(exports, str):
        return [exports]
    return [path for value in exports.values() for path in exported(value)]


def test_the_transport_is_one_file_that_needs_only_ai() -> None:
    [source] = (PACKAGE / "src").iterdir()
    imports = [line for line in source.read_text().splitlines() if line.startswith("import ")]

    assert [line.rpartition(" from ")[2] for line in imports] == ['"ai";']
    assert list(DESCRIBED["peerDependencies"]) == ["ai"] and "dependencies" not in DESCRIBED


def test_the_package_has_the_license_of_the_repository() -> None:
    assert (PACKAGE / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
