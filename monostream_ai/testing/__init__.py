"""Conformance suites for authors of stores and notifiers.

A suite is a class of pytest tests. A subclass with one fixture runs all of them:

    class TestMyStore(StoreConformance):
        @pytest_asyncio.fixture
        async def store(self):
            store = MyStore(an_empty_database())
            yield store
            await store.aclose()

`StoreConformance` and `NotifierConformance` check each promise of `monostream_ai.interfaces`, call
by call. `FaultScenarios` runs whole services on your store and notifier while calls fail, answers
and wake-ups get lost, and processes freeze and die. It uses `UnreliableStore` and
`UnheardNotifier`, which your own tests may use too.

Run the suites on the storage that you deploy, and give them a real second connection as `peer`:
they prove only the setup that they ran on. They need pytest and pytest-asyncio, in either mode.
"""

from __future__ import annotations

try:
    import pytest
    import pytest_asyncio  # noqa: F401 - the suites cannot run without it
except ImportError as error:
    raise ImportError(
        "monostream_ai.testing needs pytest and pytest-asyncio: pip install pytest pytest-asyncio"
    ) from error

# Before the suites are imported: otherwise a failing `assert` in them would not show its values.
pytest.register_assert_rewrite(
    "monostream_ai.testing.fault_suite",
    "monostream_ai.testing.store_cases",
    "monostream_ai.testing.notifier_suite",
)

from monostream_ai.testing.fault_suite import FaultScenarios  # noqa: E402
from monostream_ai.testing.notifier_suite import NotifierConformance, RecordingListener  # noqa: E402
from monostream_ai.testing.store_suite import StoreConformance  # noqa: E402
from monostream_ai.testing.unreliable import UnheardNotifier, UnreliableStore  # noqa: E402

__all__ = [
    "FaultScenarios",
    "NotifierConformance",
    "RecordingListener",
    "StoreConformance",
    "UnheardNotifier",
    "UnreliableStore",
]
