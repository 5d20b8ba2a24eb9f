"""How several processes share the tests (`--numprocesses`).

Tests that record messages stay together with those that read the recordings, and tests that
share one Chromium, one server or one folder that they build stay together too. Each other test goes
to the process that is free first.
"""

from __future__ import annotations

from typing import Any, Final

import pytest

from tests.plugins.lanes import SLOW_TO_START

RECORDINGS: Final = "recordings"
"""The share of the tests that record messages and of those that read them."""

TOGETHER: Final = {
    "tests/langchain/": RECORDINGS,
    "tests/clients/resuming/test_cuts.py": RECORDINGS,
    "tests/clients/resuming/test_workflow_transport.py": RECORDINGS,
    "tests/clients/test_anthropic.py": "anthropic",
    "tests/clients/test_clients.py": RECORDINGS,
    "tests/browser/test_site.py": "site",
    "tests/test_docs.py": "site",
    "tests/browser/": "browser",
    "tests/doors/": "doors",
    "tests/packages/": "packages",
}


def share_of(nodeid: str) -> str:
    return next((share for folder, share in TOGETHER.items() if nodeid.startswith(folder)), nodeid)


SPREAD: Final = 0.8
"""Part of a run within which the slow tests begin, so that no process has one left at the end."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        _mix(items)
    items.sort(key=_reads_recordings)


def _mix(items: list[pytest.Item]) -> None:
    """Mix slow tests, which keep the processors busy, with fast ones, which mostly wait."""
    slow = [item for item in items if item.nodeid.startswith(SLOW_TO_START)]
    chosen = {*slow}
    fast = [item for item in items if item not in chosen]
    place = {item: SPREAD * number / len(slow) for number, item in enumerate(slow)}
    place |= {item: number / len(fast) for number, item in enumerate(fast)}
    items.sort(key=place.__getitem__)


def _reads_recordings(item: pytest.Item) -> bool:
    return item.nodeid.startswith("tests/clients/") and share_of(item.nodeid) == RECORDINGS


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Schedule the shares, the largest first."""
    from xdist.scheduler import LoadScopeScheduling

    class Shares(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return share_of(nodeid)

    return Shares(config, log)
