"""The files that run the project call the same scripts and tools as its developers."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

ROOT: Final = Path(__file__).parent.parent
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
GITHUB: Final = ROOT / ".github"


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def tracked(*patterns: str) -> list[Path]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [Path(line) for line in listed.stdout.splitlines()]


def test_ci_runs_the_script_on_each_python_that_users_may_have() -> None:
    [job] = read(GITHUB / "workflows" / "ci.yml")["jobs"].values()
    named = [each.rpartition(" ")[2] for each in PROJECT["classifiers"] if ":: 3." in each]

    assert job["strategy"]["matrix"]["python"] == named
    assert ".ci/run" in [step.get("run") for step in job["steps"]]


def test_a_release_is_published_without_a_password() -> None:
    text = (GITHUB / "workflows" / "release.yml").read_text()

    assert read(GITHUB / "workflows" / "release.yml")["jobs"]["publish"]["permissions"] == {
        "id-token": "write"
    }
    assert "secrets." not in text


def test_a_release_checks_the_version_that_the_package_says() -> None:
    steps = read(GITHUB / "workflows" / "release.yml")["jobs"]["build"]["steps"]
    [check] = [step["run"] for step in steps if step.get("name") == "The tag is the version"]
    import monostream_ai

    for tag, code in ((f"v{monostream_ai.__version__}", 0), ("v99.0", 1)):
        environment = os.environ | {"GITHUB_REF_NAME": tag}
        done = subprocess.run(["bash", "-c", check], cwd=ROOT, env=environment)
        assert done.returncode == code, tag


def test_dependabot_looks_at_every_lock_file() -> None:
    updates = read(GITHUB / "dependabot.yml")["updates"]
    [npm] = [each for each in updates if each["package-ecosystem"] == "npm"]

    assert npm["directories"] == [f"/{path.parent}" for path in tracked("*package-lock.json")]


def test_a_commit_is_checked_with_the_tools_of_the_lint_script() -> None:
    hooks = [
        hook for repo in read(ROOT / ".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]
    ]
    script = (ROOT / "scripts" / "lint").read_text()
    tools = {hook["entry"].removeprefix(".venv/bin/").split()[0] for hook in hooks}

    assert tools == {"ruff", "mypy", "lint-imports"}
    assert [tool for tool in tools if not re.search(rf"^{tool}\b", script, re.MULTILINE)] == []


@pytest.mark.parametrize(
    "path", sorted(GITHUB.glob("ISSUE_TEMPLATE/[!c]*.yml")), ids=lambda p: p.stem
)
def test_a_template_has_a_name_and_questions(path: Path) -> None:
    template = read(path)

    assert {"name", "description", "body"} <= template.keys()
    assert all(each["attributes"]["label"] for each in template["body"])


def test_every_script_is_explained_to_contributors() -> None:
    explained = (ROOT / "CONTRIBUTING.md").read_text()
    scripts = [path for path in tracked("scripts/*") if not path.suffix]

    assert [
        str(path) for path in scripts if path.name != "setup-env" and f"`{path}`" not in explained
    ] == []


def test_contributors_are_told_the_layers_that_are_checked() -> None:
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    [layers] = [
        contract["layers"]
        for contract in tools["importlinter"]["contracts"]
        if contract.get("containers") == ["monostream_ai"]
    ]
    _, _, rest = (ROOT / "CONTRIBUTING.md").read_text().partition("| Layer | Modules |")
    table = rest.partition("\n\n")[0]

    assert set(re.findall(r"`(\w+)`", table)) == set(re.findall(r"\w+", " ".join(layers)))
