"""Asks pip-audit and npm for known advisories; exits with 1 if there are any."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement

PAGE: Final = Path(__file__).parents[1] / "examples" / "chat" / "web"
INFAMOUS: Final = "urllib3==1.26.4"
"""A release with several advisories. A service that knows none of them, such as a mirror without
advisories, knows nothing.
"""


class NotAsked(Exception):
    """There is no service that answers."""


def installed(requirement: str, seen: set[str]) -> Iterator[str]:
    """Yield what a requirement and all that it requires is installed as, each once."""
    wanted = Requirement(requirement)
    try:
        found = distribution(wanted.name)
    except PackageNotFoundError:
        return
    name, extras = found.metadata["Name"], wanted.extras or {""}
    for each in found.requires or ():
        marker = Requirement(each).marker
        if each not in seen and (
            marker is None or any(marker.evaluate({"extra": extra}) for extra in extras)
        ):
            seen.add(each)
            yield from installed(each, seen)
    if name not in seen:
        seen.add(name)
        yield f"{name}=={found.version}"


def pip_advisories(releases: Sequence[str]) -> list[str]:
    """Return a line for each advisory.

    Raises:
        NotAsked
    """
    requirements = "\n".join(releases)
    command = [
        sys.executable,
        "-m",
        "pip_audit",
        "--disable-pip",
        "--no-deps",
        "--progress-spinner=off",
        "--timeout=10",
    ]
    done = subprocess.run(
        [*command, "--format=json", "--requirement=/dev/stdin"],
        input=requirements,
        capture_output=True,
        text=True,
    )
    if not done.stdout:
        raise NotAsked(last_line(done.stderr))
    return [
        f"{each['name']} {each['version']}: {known['id']}, fixed in {', '.join(known['fix_versions']) or 'no release'}"
        for each in json.loads(done.stdout)["dependencies"]
        for known in each.get("vulns", ())
    ]


def last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it said nothing"])[-1]


def python_advisories() -> list[str]:
    if not pip_advisories([INFAMOUS]):
        raise NotAsked(f"the service knows no advisory against {INFAMOUS}")
    return pip_advisories(
        [
            each
            for each in installed("monostream-ai[all]", set())
            if not each.startswith("monostream-ai==")
        ]
    )


def page_advisories() -> list[str]:
    done = subprocess.run(
        ["npm", "audit", "--omit=dev", "--json"], cwd=PAGE, capture_output=True, text=True
    )
    report: dict[str, Any] = json.loads(done.stdout or "{}")
    if "vulnerabilities" not in report:
        raise NotAsked(last_line(report.get("message") or done.stderr))
    return [
        f"{name}: {each['severity']}, {each['range']}"
        for name, each in report["vulnerabilities"].items()
    ]


def main() -> int:
    found = 0
    for what, ask in (
        ("Python packages", python_advisories),
        ("npm packages of the chat's page", page_advisories),
    ):
        try:
            advisories = ask()
        except NotAsked as reason:
            print(f"NOT ASKED for advisories against the {what}: {reason}")
            continue
        print(f"{len(advisories)} advisories against the {what}", *advisories, sep="\n  ")
        found += len(advisories)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
