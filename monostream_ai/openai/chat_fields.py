"""Names and reads the fields of chat completions, of OpenAI and of the servers like it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from monostream_ai.openai.content import Piece, Spoken, read_content
from monostream_ai.openai.sources import SOURCE_FIELDS
from monostream_ai.recording.fields import get, get_text, present_fields
from monostream_ai.recording.model_output import ResponseFailed

Fields: TypeAlias = Mapping[str, Any]

_REASON_KEYS: Final = ("finish_reason", "finishReason", "stop_reason", "stopReason", "done_reason")
_FEEDBACK: Final = ("prompt_feedback", "promptFeedback")
_BESIDE: Final = frozenset({*_REASON_KEYS, *SOURCE_FIELDS, *_FEEDBACK, "usage", "x_groq", "error"})
"""Fields of a chunk or a choice that are read, besides its deltas and messages."""

KNOWN: Final = _BESIDE | {
    "choices",
    "delta",
    "message",
    "text",
    "id",
    "object",
    "type",
    "role",
    "index",
    "created",
    "model",
    "provider",
    "request_id",
    "metadata",
    "service_tier",
    "system_fingerprint",
    "obfuscation",
    "logprobs",
    "prompt_logprobs",
    "token_ids",
    "prompt_token_ids",
    "kv_transfer_params",
    "nvext",
    "timings",
    "time_info",
    "stats",
    "prompt_progress",
    "prompt_filter_results",
    "content_filter_results",
    "content_filter_offsets",
    "native_finish_reason",
    "matched_stop",
    "stop_sequence",
    "finish_details",
    "code",
    "param",
}
"""Fields of a chunk or a choice that are read, or hold nothing that the model says."""

FOUND: Final = frozenset({"images", "videos", "related_questions"})
"""Fields of a chunk with the findings of a search, of Perplexity."""

SILENT: Final = frozenset(
    {
        "role",
        "id",
        "type",
        "name",
        "index",
        "logprobs",
        "obfuscation",
        "padding",
        "token_id",
        "token_ids",
        "channel",
        "extra_content",
        "tool_call_id",
        "prefix",
        "reasoning_signature",
        "encrypted_content",
    }
)
"""Fields of a delta that hold no content, or are read with another field."""

REASONING: Final = (
    "reasoning_content",
    "reasoning",
    "reasoning_text",
    "thinking",
    "thinking_blocks",
    "reasoning_details",
)
"""Fields with the thoughts of a model: of DeepSeek, vLLM, Ollama, LiteLLM and OpenRouter."""

SAID: Final = (*REASONING, "content", "refusal")
"""Fields of a delta or a message with texts, in the order of the message."""


LITELLM: Final = "provider_specific_fields"
"""Field of a delta, a choice or a chunk in which LiteLLM passes on the vendor's own fields.

Some of them it puts beside this field too. Source: litellm 1.110.2, llms/anthropic/chat/handler.py.
"""

PASSED_ON: Final = frozenset({*SAID, "images", "audio", "annotations", "citations"})
"""Fields of LiteLLM's that are read as if they were the delta's own."""

UNSAID: Final = frozenset(
    {
        "compaction_delta",
        "compaction_start",
        "container",
        "context_management",
        "continuation_token",
        "input_transformations",
        "mcp_list_tools",
        "native_finish_reason",
        "signature",
        "stop_reason",
        "stop_sequence",
        "thought_signature",
        "thought_signatures",
        "traffic_type",
    }
)
"""Fields of LiteLLM's that hold state, or repeat what another one gathers."""


def has_more(holder: Fields) -> bool:
    """Whether a chunk or a choice has something besides its delta."""
    return not _BESIDE.isdisjoint(holder) or holder.get("object") == "error"


def fields_of_choice(choice: Any) -> Fields:
    fields = present_fields(choice)
    return fields or {"delta": choice} if choice else fields


def block_in(chunk: Fields) -> str:
    """Return why Gemini refused the prompt, or an empty text."""
    feedback = next((given for key in _FEEDBACK if (given := chunk.get(key))), None)
    names = ("block_reason_message", "blockReasonMessage", "block_reason", "blockReason")
    return next((word for name in names if (word := get_text(feedback, name))), "")


def fields_of_delta(delta: Any) -> Fields:
    if not isinstance(delta, Mapping) and not hasattr(delta, "__dict__"):
        return {"content": delta}
    fields = present_fields(delta)
    return _with_passed_on(fields) if LITELLM in fields else fields


def _with_passed_on(fields: Fields) -> Fields:
    """Return the fields of a delta with those that LiteLLM passes on and does not repeat in it."""
    given = present_fields(fields[LITELLM])
    if (cited := given.get("citation")) and "citations" not in given:
        given = {**given, "citations": [cited]}
    passed_on = {name: given[name] for name in given.keys() & PASSED_ON}
    rest = {name: given[name] for name in given.keys() - fields.keys() - PASSED_ON - {"citation"}}
    return {**passed_on, **fields, LITELLM: rest}


def kind_of(name: str, fields: Fields) -> Spoken:
    """Return the kind of a text in this field of a delta or a message."""
    if name == "refusal":
        return "refusal"
    thinks = "extra_content" in fields and get(fields, "extra_content", "google", "thought") is True
    return "reasoning" if thinks or name != "content" else "text"


def content_in(fields: Fields) -> tuple[dict[Spoken, str], list[Piece]]:
    """Return the whole text of each kind in a message, and its other pieces of content."""
    texts: dict[Spoken, str] = {}
    others: list[Piece] = []
    for name in SAID:
        said: dict[Spoken, str] = {}
        for piece in read_content(fields.get(name), kind_of(name, fields)):
            if piece.kind in ("text", "reasoning", "refusal"):
                said[piece.kind] = said.get(piece.kind, "") + piece.value
            else:
                others.append(piece)
        for kind, text in said.items():
            # Some servers send a thought under two names.
            texts[kind] = text if texts.get(kind) == text else texts.get(kind, "") + text
    return texts, others


def reason_in(holder: Any) -> str:
    """Return the finish reason, under any of the names that vendors have for it."""
    return next((word for key in _REASON_KEYS if (word := get_text(holder, key))), "")


def error_in(chunk: Fields, choices: Sequence[Fields]) -> ResponseFailed | None:
    holders = (chunk, *choices, chunk.get("x_groq"))
    error = next((each for holder in holders if (each := get(holder, "error"))), None)
    if error is None and get(chunk, "object") == "error":
        error = chunk
    if error is None:
        return None
    code = str(get(error, "code") or get(error, "type") or "") or None
    message = error if isinstance(error, str) else get_text(error, "message")
    return ResponseFailed(code, message)
