"""The tested floors are those that users may install, and the answers about known advisories are
reported.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ONLY_FOR_TESTS = {"langchain", "langgraph"}

ANSWERING = """
import pathlib, sys
asked = pathlib.Path(sys.argv[sys.argv.index("--requirement") + 1]).read_text().strip()
found = {"urllib3==1.26.4": %r, ".[all]": %r}[asked]
print(*found, sep="\\n")
sys.exit(1 if found else 0)
"""
"""Stands for pip-audit: its findings for a release with known advisories, and for our package."""
INFAMOUS = ["Name    Version ID", "urllib3 1.26.4  PYSEC-0 9.9"]
SILENT = "raise SystemExit('no route to host')"
NO_ADVISORIES = "echo '{\"vulnerabilities\": {}}'"
ADVISORY = 'echo \'{"vulnerabilities": {"marked": {}}}\'; exit 1'
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
    lists = [ROOT / "tests" / name for name in ("oldest.txt", "oldest-sdks.txt")]
    tested = floors("\n".join(each.read_text() for each in lists), "==")

    assert tested.keys() - ONLY_FOR_TESTS == admitted.keys()
    assert {
        name: version
        for name, version in admitted.items()
        if not f"{tested[name]}.".startswith(f"{version}.")
    } == {}


def test_the_page_tells_the_oldest_release_of_each_sdk() -> None:
    optional = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    page = (ROOT / "docs" / "compatibility.md").read_text()
    sdks = ("anthropic", "google-genai", "litellm", "openai", "openai-agents", "pydantic-ai")
    for sdk in sdks:
        [(name, version)] = floors("\n".join(optional[sdk]), ">=").items()
        assert f"`{name}` {version}" in page


@pytest.mark.parametrize(
    ("pip_audit", "npm", "code", "said"),
    [
        (ANSWERING % (INFAMOUS, []), NO_ADVISORIES, 0, "0 advisories against the npm packages"),
        (ANSWERING % (INFAMOUS, ["starlette 1 PYSEC-1"]), NO_ADVISORIES, 1, "PYSEC-1"),
        (ANSWERING % (INFAMOUS, []), ADVISORY, 1, "marked"),
        (
            ANSWERING % (["urllib3 could not be audited"], []),
            NO_ADVISORIES,
            0,
            "NOT ASKED for advisories against the Python packages: urllib3 could not be audited",
        ),
        (
            SILENT,
            NO_ENDPOINT,
            0,
            "NOT ASKED for advisories against the npm packages of the chat's page: "
            '{"message": "405 Method Not Allowed"',
        ),
        (
            SILENT,
            NO_ADVISORIES,
            0,
            "NOT ASKED for advisories against the Python packages: no route",
        ),
    ],
    ids=["none", "python", "npm", "a mirror that knows none", "nobody answers", "npm answers"],
)
def test_the_answers_of_the_services_are_reported(
    tmp_path: Path, pip_audit: str, npm: str, code: int, said: str
) -> None:
    done = _check_advisories(tmp_path, pip_audit, npm)

    assert (done.returncode, said in done.stdout) == (code, True), done.stdout + done.stderr


def _check_advisories(folder: Path, pip_audit: str, npm: str) -> subprocess.CompletedProcess[str]:
    """Run the script in a folder of its own, with stand-ins for both services."""
    (folder / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "check-advisories", folder / "scripts")
    (folder / "scripts" / "setup-env").write_text("#!/bin/sh\n")
    (folder / "scripts" / "setup-env").chmod(0o755)
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "python").symlink_to(sys.executable)
    (folder / "pip_audit.py").write_text(pip_audit)
    (folder / "npm").write_text(f"#!/bin/sh\n{npm}\n")
    (folder / "npm").chmod(0o755)
    environment = os.environ | {
        "PYTHONPATH": str(folder),
        "PATH": f"{folder}:{os.environ['PATH']}",
    }
    return subprocess.run(
        [folder / "scripts" / "check-advisories"], env=environment, capture_output=True, text=True
    )
