"""How several processes share the tests (`--numprocesses`).

Tests that record messages stay together with those that read the recordings, and tests that
share one Chromium, one server or one folder that they build stay together too. Each other test goes
to the process that is free first.
"""

from __future__ import annotations

from typing import Any, Final

import pytest

from tests.plugins.lanes import SLOW_TO_START

TOGETHER: Final = {
    "tests/langchain/": "recordings",
    "tests/clients/resuming/test_cuts.py": "recordings",
    "tests/clients/resuming/test_workflow_transport.py": "recordings",
    "tests/clients/test_anthropic.py": "anthropic",
    "tests/clients/test_clients.py": "recordings",
    "tests/browser/test_site.py": "site",
    "tests/test_docs.py": "site",
    "tests/browser/": "browser",
    "tests/doors/": "doors",
    "tests/packages/": "packages",
}


def share_of(nodeid: str) -> str:
    return next((share for folder, share in TOGETHER.items() if nodeid.startswith(folder)), nodeid)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Long tests come early, so that no process has one left when the others have ended.
    items.sort(key=lambda item: not item.nodeid.startswith(SLOW_TO_START))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Schedule the shares, the largest first."""
    from xdist.scheduler import LoadScopeScheduling

    class Shares(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return share_of(nodeid)

    return Shares(config, log)
