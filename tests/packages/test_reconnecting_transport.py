"""The npm package of the reconnecting transport: its own tests with each `ai`, and its contents."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from tests.pages import blocks
from tests.tutorial.conftest import OLDER, install

ROOT: Final = Path(__file__).parents[2]
WEB: Final = ROOT / "examples" / "chat" / "web"
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


def pack(folder: Path) -> dict[str, Any]:
    """Pack the package as npm publishes it, into a file in the folder; return what npm says."""
    [packed] = json.loads(
        run("npm", "pack", "--json", "--ignore-scripts", "--pack-destination", str(folder))
    )
    return dict(packed)


@pytest.mark.usefixtures("built")
def test_the_page_of_the_example_is_built_with_the_packed_package(tmp_path: Path) -> None:
    if not (WEB / "node_modules").exists():
        pytest.skip("needs `npm ci` in examples/chat/web")
    web, modules = tmp_path / "chat" / "web", tmp_path / "chat" / "web" / "node_modules"
    shutil.copytree(WEB, web, ignore=shutil.ignore_patterns("node_modules"))
    modules.mkdir()
    for each in (WEB / "node_modules").iterdir():
        if each.name != DESCRIBED["name"]:
            (modules / each.name).symlink_to(each)
    packed = pack(tmp_path)
    shutil.unpack_archive(tmp_path / packed["filename"], tmp_path)
    (tmp_path / "package").rename(modules / DESCRIBED["name"])
    # As a page of somebody else, it takes what the package exports, and not the source.
    for name in ("vite.config.ts", "tsconfig.json"):
        text = (web / name).read_text()
        assert text.count('"@monostream/source"') == 1
        (web / name).write_text(text.replace('"@monostream/source"', '"none"'))

    run("npm", "run", "--silent", "typecheck", cwd=web)
    run("npm", "run", "--silent", "build", cwd=web)

    page = Path("static", "assets", "app.js")
    assert (tmp_path / "chat" / page).read_text() == (WEB.parent / page).read_text()


def test_the_package_holds_its_source_its_types_and_no_tests(built: Path, tmp_path: Path) -> None:
    packed = pack(tmp_path)

    assert {file["path"] for file in packed["files"]} == {
        "LICENSE",
        "README.md",
        "dist/chat-events.d.ts",
        "dist/chat-events.js",
        "dist/reconnecting-transport.d.ts",
        "dist/reconnecting-transport.js",
        "dist/shared-chat.d.ts",
        "dist/shared-chat.js",
        "package.json",
        "src/chat-events.ts",
        "src/reconnecting-transport.ts",
        "src/shared-chat.ts",
    }
    named = exported(DESCRIBED["exports"])
    assert [path for path in named if not (built / path).exists()] == []


def exported(exports: Any) -> list[str]:
    """Return all paths that the exports of a package name, whatever their conditions."""
    if isinstance(exports, str):
        return [exports]
    return [path for value in exports.values() for path in exported(value)]


@pytest.mark.parametrize(
    ("name", "needed"),
    [
        ("reconnecting-transport.ts", ['"ai";']),
        ("chat-events.ts", []),
        ("shared-chat.ts", ['"ai";', '"react";', '"./chat-events.js";']),
    ],
)
def test_each_file_can_be_copied_and_needs_no_other_package(name: str, needed: list[str]) -> None:
    source = (PACKAGE / "src" / name).read_text()
    imports = [line for line in source.splitlines() if line.startswith("import ")]

    assert [line.rpartition(" from ")[2] for line in imports] == needed
    assert list(DESCRIBED["peerDependencies"]) == ["ai", "react"]
    assert "dependencies" not in DESCRIBED


@pytest.mark.parametrize("react", ["react-2", "react-3"])
def test_the_hook_takes_the_chat_of_an_older_use_chat(react: str, tmp_path: Path) -> None:
    if not (WEB / "node_modules").exists():
        pytest.skip("needs `npm ci` in examples/chat/web")
    install(OLDER / react, tmp_path)
    [page] = blocks("tsx", "shared")
    (tmp_path / "page.tsx").write_text(page.text)
    options = json.loads((WEB / "tsconfig.json").read_text())["compilerOptions"] | {"types": []}
    (tmp_path / "tsconfig.json").write_text(
        json.dumps({"compilerOptions": options, "include": ["page.tsx"]})
    )

    run(str(WEB / "node_modules" / ".bin" / "tsc"), cwd=tmp_path)


def test_the_package_has_the_license_of_the_repository() -> None:
    assert (PACKAGE / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
