"""Why the models of a message stopped, and how many tokens they used, in the words of the AI SDK.

Both reach the client as `message-metadata` when a root run ends.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from langchain_core.messages import AIMessage
from langchain_core.outputs import Generation

from monostream_ai.langchain.agent_message import AgentMessage
from monostream_ai.langchain.endings import finish_reason, is_refused
from monostream_ai.ui_messages import Chunk
from monostream_ai.ui_messages.model_output import Summary

_COUNTS: Final = (
    ("inputTokens", "input_tokens"),
    ("outputTokens", "output_tokens"),
    ("totalTokens", "total_tokens"),
)
_DETAILS: Final = (
    ("cachedInputTokens", "input_token_details", "cache_read"),
    ("reasoningTokens", "output_token_details", "reasoning"),
)
"""Names of `LanguageModelUsage` (vercel/ai, ai@7.0.173, src/types/usage.ts), then LangChain's."""


_NAMES: Final = frozenset(name for name, *_ in (*_COUNTS, *_DETAILS))


class Usage:
    """The finish reason of the last model shown, and the tokens of all models, hidden ones too.

    The counts of an earlier turn that this one continues are added: the client merges metadata key
    by key, and would mix the counts of two turns.
    """

    def __init__(self, message: AgentMessage) -> None:
        self._tokens: Counter[str] = Counter(
            {name: count for name, count in message.earlier_usage.items() if name in _NAMES}
        )
        self._reason = "stop"
        self._cut = ""
        told: dict[str, Any] = {"finishReason": message.earlier_reason or "stop"}
        if self._tokens:
            told["usage"] = dict(self._tokens)
        self._summary = Summary(message, told)

    def count(self, message: AIMessage) -> None:
        """Add the tokens of one model run."""
        self._tokens.update(token_counts(message))

    def stopped(self, message: AIMessage, *, structured: bool = False) -> None:
        """Take the finish reason from a chat model's message.

        Args:
            structured: The calls of the message are its answer, and call no tools.
        """
        calls_tools = bool(message.tool_calls) and not structured
        self._cut = ""
        reason = finish_reason(message.response_metadata, calls_tools=calls_tools)
        reason = "stop" if structured and reason == "tool-calls" else reason
        self._reason = "content-filter" if is_refused(message) else reason

    def completed(self, generation: Generation | None) -> None:
        """Take the finish reason from the result of a completion model."""
        self._cut = ""
        info = None if generation is None else generation.generation_info
        self._reason = finish_reason(info or {})

    def cut(self, *, failed: bool) -> None:
        """Note that the last model shown did not finish its answer."""
        self._cut = "error" if failed else "other"

    def tell_cut(self) -> list[Chunk]:
        """Send the reason of an answer that is over and not whole; nothing if it is whole."""
        if not self._cut:
            return []
        return self._summary.tell({"finishReason": self._cut}, self._tokens)

    def tell(self) -> list[Chunk]:
        """Send what changed since the last root run ended."""
        return self._summary.tell({"finishReason": self._reason}, self._tokens)


def token_counts(message: AIMessage) -> dict[str, int]:
    """Return the counts above zero that a message reports."""
    usage: Mapping[str, Any] = message.usage_metadata or {}
    counts = {name: usage.get(key) for name, key in _COUNTS}
    counts |= {name: (usage.get(details) or {}).get(key) for name, details, key in _DETAILS}
    return {name: count for name, count in counts.items() if count}
