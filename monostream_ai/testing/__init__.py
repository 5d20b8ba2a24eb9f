"""Tests of applications, and conformance suites for authors of stores and notifiers.

`ChatProcesses` runs a chat application in a test: ask, reload, stop, and let a process crash.
`ScriptedReply` and `Gate` write the answers, or the `ScriptedChatModel`, `ScriptedOpenAI` and
`ScriptedAnthropic` of `monostream_ai.testing.langchain`, `.openai` and `.anthropic`. They need no
pytest; `monostream_ai.testing.pytest_plugin` has a fixture of them.

A suite is a class of pytest tests. A subclass with one fixture runs all of them:

    class TestMyStore(StoreConformance):
        @pytest_asyncio.fixture
        async def store(self):
            store = MyStore(an_empty_database())
            yield store
            await store.aclose()

`StoreConformance`, `NotifierConformance` and `MessagesConformance` check each promise of
`monostream_ai.interfaces`, call by call. `FaultScenarios` runs whole services on your store and
notifier while calls fail, answers and wake-ups get lost, and processes freeze and die. It uses
`UnreliableStore` and `UnheardNotifier`, which your own tests may use too.

Run the suites on the storage that you deploy, and give them a real second connection as `peer`:
they prove only the setup that they ran on. They need pytest and pytest-asyncio, in either mode.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from monostream_ai.testing.chats import Answer, ChatProcess, ChatProcesses
from monostream_ai.testing.script import Gate, ScriptedReply, Step, Thought, ToolCall
from monostream_ai.testing.unreliable import UnheardNotifier, UnreliableStore

if TYPE_CHECKING:
    from monostream_ai.testing.fault_suite import FaultScenarios
    from monostream_ai.testing.messages_suite import MessagesConformance
    from monostream_ai.testing.notifier_suite import NotifierConformance, RecordingListener
    from monostream_ai.testing.store_suite import StoreConformance

__all__ = [
    "Answer",
    "ChatProcess",
    "ChatProcesses",
    "FaultScenarios",
    "Gate",
    "MessagesConformance",
    "NotifierConformance",
    "RecordingListener",
    "ScriptedReply",
    "Step",
    "StoreConformance",
    "Thought",
    "ToolCall",
    "UnheardNotifier",
    "UnreliableStore",
]

_SUITES: Final = {
    "FaultScenarios": "fault_suite",
    "MessagesConformance": "messages_suite",
    "NotifierConformance": "notifier_suite",
    "RecordingListener": "notifier_suite",
    "StoreConformance": "store_suite",
}


def __getattr__(name: str) -> Any:
    # Loaded on demand: only the suites need pytest.
    if name not in _SUITES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        import pytest
        import pytest_asyncio  # noqa: F401 - the suites cannot run without it
    except ImportError as error:
        raise ImportError(
            f"{name} needs pytest and pytest-asyncio: pip install pytest pytest-asyncio"
        ) from error
    # Before the suites are imported: otherwise a failing `assert` in them would not show its
    # values.
    pytest.register_assert_rewrite(
        *(f"{__name__}.{suite}" for suite in {"store_cases", *_SUITES.values()})
    )
    return getattr(import_module(f"{__name__}.{_SUITES[name]}"), name)
