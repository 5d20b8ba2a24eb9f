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
        self._tokens = _known(message.earlier_usage)
        self._finished = _known(message.continued_usage)
        self._untold = False
        """Whether a finished message was counted since the last root run ended."""
        self._reason = "stop"
        self._cut = ""
        told: dict[str, Any] = {"finishReason": message.earlier_reason or "stop"}
        if self._tokens:
            told["usage"] = dict(self._tokens)
        self._summary = Summary(message, told)

    def count(self, message: AIMessage) -> None:
        """Add the tokens of one model run."""
        self._tokens.update(token_counts(message))

    def count_finished(self, message: AIMessage) -> None:
        """Add the tokens of a run that a checkpoint holds.

        A lost publisher may have told them already, in a sum that holds hidden runs too.
        """
        self._finished.update(token_counts(message))
        self._tokens |= self._finished
        self._untold = True

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

    def tell_rest(self) -> list[Chunk]:
        """Send the reason of an answer that is over and not whole, or was finished before.

        Nothing if the end of a root run has told it.
        """
        if self._cut:
            return self._summary.tell({"finishReason": self._cut}, self._tokens)
        return self.tell() if self._untold else []

    def tell(self) -> list[Chunk]:
        """Send what changed since the last root run ended."""
        self._untold = False
        return self._summary.tell({"finishReason": self._reason}, self._tokens)


def _known(usage: Mapping[str, int]) -> Counter[str]:
    return Counter({name: count for name, count in usage.items() if name in _NAMES})


def token_counts(message: AIMessage) -> dict[str, int]:
    """Return the counts above zero that a message reports."""
    usage: Mapping[str, Any] = message.usage_metadata or {}
    counts = {name: usage.get(key) for name, key in _COUNTS}
    counts |= {name: (usage.get(details) or {}).get(key) for name, details, key in _DETAILS}
    return {name: count for name, count in counts.items() if count}
