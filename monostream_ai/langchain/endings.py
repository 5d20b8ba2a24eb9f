"""Why a model stopped, in the words of the AI SDK, and whether it refused to answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from langchain_core.messages import AIMessage

from monostream_ai.langchain.provider_blocks import as_provider_sent
from monostream_ai.ui_messages.texts import REFUSED_TEXT, finish_reason_of

_REASON_KEYS: Final = (
    "finish_reason",
    "stop_reason",
    "stopReason",
    "done_reason",
    "finishReason",
    "status",
)
"""Names of the finish reason, the most exact one first.

Sources: langchain-openai, -anthropic, -aws (Converse), -ollama and -google-genai. `status` is that
of OpenAI's Responses.
"""


def finish_reason(metadata: Mapping[str, Any], *, calls_tools: bool = False) -> str:
    """Return the finish reason in a model's metadata, `stop` if it has none.

    A provider whose package names itself always gives a reason, so without one the answer was cut:
    the reason is `other` then.

    Args:
        metadata: `response_metadata` of a message, or `generation_info` of a completion.
    """
    given = next(_reasons(metadata), None)
    reason = None if given is None else finish_reason_of(given)
    if reason in ("length", "content-filter", "error"):
        # Calls of a cut answer may lack arguments.
        return reason
    if reason is None and metadata.get("model_provider") in _GIVES_A_REASON:
        return "other"
    return "tool-calls" if calls_tools else reason or "stop"


def is_refused(message: AIMessage) -> bool:
    """Whether the provider or the model refused to answer, though it may call that a stop."""
    content: Any = message.content if isinstance(message.content, list) else ()
    return (
        _block_reason(message) is not None
        or bool(message.additional_kwargs.get("refusal"))
        or any(map(is_refusal, content))
        or finish_reason(message.response_metadata) == "content-filter"
    )


def is_refusal(block: object) -> bool:
    """Whether a content block holds a refusal of the model."""
    return isinstance(block, Mapping) and as_provider_sent(block).get("type") == "refusal"


def refusal_text(message: AIMessage) -> str | None:
    """Return a text for a refusal, such as that of a prompt, or None if the message is none."""
    if not is_refused(message):
        return None
    details = message.response_metadata.get("stop_details")
    told: Mapping[str, Any] = details if isinstance(details, Mapping) else {}
    if explanation := told.get("explanation"):
        return str(explanation)
    reason = _block_reason(message) or told.get("category")
    return f"{REFUSED_TEXT} ({reason})" if reason else REFUSED_TEXT


def _reasons(metadata: Mapping[str, Any]) -> Iterator[str]:
    incomplete = metadata.get("incomplete_details")
    ended = metadata.get("messageStop")
    for place in (incomplete, metadata, ended):
        if not isinstance(place, Mapping):
            continue
        for key in ("reason", *_REASON_KEYS) if place is incomplete else _REASON_KEYS:
            if given := place.get(key):
                yield str(getattr(given, "name", given))


def with_feedback(message: AIMessage, llm_output: Mapping[str, Any] | None) -> AIMessage:
    """Return the message with the feedback on its prompt, which Gemini's package put beside it.

    Source: langchain-google-genai 2, `_response_to_result`.
    """
    given = (llm_output or {}).get("prompt_feedback")
    feedback = given[0] if isinstance(given, list) and given else given
    if not isinstance(feedback, Mapping) or "prompt_feedback" in message.response_metadata:
        return message
    metadata = {**message.response_metadata, "prompt_feedback": feedback}
    return message.model_copy(update={"response_metadata": metadata})


def _block_reason(message: AIMessage) -> str | None:
    """Return the reason for which Gemini blocked the prompt; empty if it has only a number."""
    metadata = message.response_metadata
    feedback = metadata.get("prompt_feedback") or metadata.get("promptFeedback")
    if not isinstance(feedback, Mapping):
        return None
    given = (
        feedback.get("block_reason_message")
        or feedback.get("block_reason")
        or feedback.get("blockReason")
    )
    name = getattr(given, "name", given)
    if isinstance(name, str):
        return name if name and not name.endswith("UNSPECIFIED") else None
    return "" if name else None


_GIVES_A_REASON: Final = frozenset(
    {
        "openai",
        "azure",
        "azure_openai",
        "anthropic",
        "google_genai",
        "google_vertexai",
        "bedrock",
        "bedrock_converse",
        "groq",
        "mistralai",
        "deepseek",
        "xai",
        "ollama",
    }
)
"""Values of `model_provider` by LangChain packages whose answers always end with a reason."""
