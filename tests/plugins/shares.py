"""Which tests stay together when several processes share them (`--numprocesses`): those that record
and those that show what was recorded, and those that share one Chromium. All others go to whichever
process is free.
"""

from __future__ import annotations

from typing import Any, Final

import pytest

TOGETHER: Final = {
    "tests/langchain/": "recordings",
    "tests/clients/": "recordings",
    "tests/browser/": "browser",
}


def share_of(nodeid: str) -> str:
    return next((share for folder, share in TOGETHER.items() if nodeid.startswith(folder)), nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Schedule the shares, the largest first, so that no process ends much later than the others."""
    from xdist.scheduler import LoadScopeScheduling

    class Shares(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return share_of(nodeid)

    return Shares(config, log)
