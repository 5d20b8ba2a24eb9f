"""Conformance suites for the authors of stores and notifiers.

A suite is a class of pytest tests. Subclass it, give it one fixture, and every promise of
`monostream_ai.interfaces` is checked:

    class TestMyStore(StoreConformance):
        @pytest_asyncio.fixture
        async def store(self):
            store = MyStore(an_empty_database())
            yield store
            await store.aclose()

`StoreConformance` and `NotifierConformance` take them call by call. `FaultScenarios` puts whole
services on both while calls fail, answers and wake-ups get lost, and processes stop and die; the
parts that fail, `UnreliableStore` and `UnheardNotifier`, are yours to use. Run the suites on the
storage that you deploy, and give them a real second connection (`peer`): what they did not try they
do not prove.

Needs pytest and pytest-asyncio, in either of its modes.
"""

from __future__ import annotations

try:
    import pytest
    import pytest_asyncio  # noqa: F401 - the suites cannot run without it
except ImportError as error:
    raise ImportError(
        "monostream_ai.testing needs pytest and pytest-asyncio: pip install pytest pytest-asyncio"
    ) from error

# Before the suites are imported: a plain `assert` of a library module would otherwise fail without
# showing its values.
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
