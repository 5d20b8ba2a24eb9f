"""The floors that are tested are those that users may install, and known advisories against what
they get are told.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from scripts.advisories import installed

ROOT = Path(__file__).parent.parent
ONLY_FOR_TESTS = {"langchain", "langgraph"}

ANSWERING = """
import json, sys
print(json.dumps({"dependencies": [
    {"name": name, "version": version, "vulns": [{"id": "PYSEC-1", "fix_versions": ["9.9"]}] if name in %r else []}
    for name, _, version in (line.strip().partition("==") for line in sys.stdin)
]}))
"""
SILENT = "raise SystemExit('no route to host')"
NO_ADVISORIES = "echo '{\"vulnerabilities\": {}}'"
NO_ENDPOINT = 'echo \'{"message": "405 Method Not Allowed", "error": {}}\'; exit 1'


def floors(text: str, operator: str) -> dict[str, str]:
    return dict(
        re.findall(
            rf"^\W*(?:\w+ = \[)?\W*([a-z-]+)(?:\[\w+\])?{operator}([\d.]+\d|\d)", text, re.MULTILINE
        )
    )


def test_the_oldest_releases_that_are_tested_are_the_floors() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = [each for group in project["optional-dependencies"].values() for each in group]
    admitted = floors("\n".join([*project["dependencies"], *optional]), ">=")
    tested = floors((ROOT / "tests" / "oldest.txt").read_text(), "==")

    assert tested.keys() - ONLY_FOR_TESTS == admitted.keys()
    assert {
        name: version
        for name, version in admitted.items()
        if not f"{tested[name]}.".startswith(f"{version}.")
    } == {}


def test_advisories_are_asked_for_against_what_the_package_brings_and_no_more() -> None:
    names = {
        release.partition("==")[0].lower() for release in installed("monostream-ai[all]", set())
    }

    assert names > {
        "aiosqlite",
        "asyncpg",
        "fastapi",
        "openai",
        "pydantic",
        "redis",
        "rich",
        "starlette",
    }
    assert not names & {"pytest", "httpx-sse", "uvicorn"}


@pytest.mark.parametrize(
    ("pip_audit", "npm", "code", "said"),
    [
        (ANSWERING % (["urllib3"],), NO_ADVISORIES, 1, "urllib3"),
        (ANSWERING % (["urllib3", "starlette"],), NO_ADVISORIES, 1, "PYSEC-1, fixed in 9.9"),
        (
            ANSWERING % ([],),
            NO_ADVISORIES,
            0,
            "NOT ASKED for advisories against the Python packages",
        ),
        (
            SILENT,
            NO_ENDPOINT,
            0,
            "NOT ASKED for advisories against the npm packages of the chat's page: 405 Method Not Allowed",
        ),
        (SILENT, NO_ADVISORIES, 0, "0 advisories against the npm packages"),
    ],
    ids=["one", "two", "a mirror that knows none", "nobody answers", "npm answers"],
)
def test_what_the_services_say_is_told(
    tmp_path: Path, pip_audit: str, npm: str, code: int, said: str
) -> None:
    (tmp_path / "pip_audit.py").write_text(pip_audit)
    (tmp_path / "npm").write_text(f"#!/bin/sh\n{npm}\n")
    (tmp_path / "npm").chmod(0o755)
    environment = {
        **os.environ,
        "PYTHONPATH": str(tmp_path),
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
    }

    done = subprocess.run(
        [sys.executable, "scripts/advisories.py"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )

    assert (done.returncode, said in done.stdout) == (code, True), done.stdout + done.stderr
