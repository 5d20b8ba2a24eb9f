"""State that a provider wants back: signatures, encrypted reasoning, and the phase of a text.

Messages keep it as `providerMetadata`, under the names that the AI SDK's providers use, so that
the messages of both can be exchanged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple, TypeGuard

from langchain_core.messages import AIMessage

from monostream_ai.ui_messages.model_contents import (
    AnsweredCall,
    Content,
    Reasoning,
    StatedText,
)


class _Names(NamedTuple):
    """Names of the AI SDK's provider, of LangChain's, and of their values."""

    sdk: str
    langchain: str
    values: Mapping[str, str]


_NAMES: Final = (
    _Names("anthropic", "anthropic", {"signature": "signature", "redactedData": "data"}),
    _Names("openai", "openai", {"reasoningEncryptedContent": "encrypted_content", "itemId": "id"}),
    _Names("google", "google_genai", {"thoughtSignature": "signature"}),
    _Names(
        "bedrock",
        "bedrock_converse",
        {"signature": "signature", "redactedData": "redacted_content"},
    ),
)
"""Sources: @ai-sdk/anthropic 4, @ai-sdk/openai 4, @ai-sdk/google 4 and @ai-sdk/amazon-bedrock 5."""

PHASES: Final = ("commentary", "final_answer")
"""Source: openai-python 3.57.0, types/responses/response_output_message.py."""

_STATE_KEYS: Final = frozenset({"signature", "encrypted_content", "data", "redacted_content"})
_GEMINI_CALLS: Final = "__gemini_function_call_thought_signatures__"
"""Field of langchain-google-genai that holds the signatures of calls, by call id."""


def state_of(block: Mapping[str, Any], provider: object) -> dict[str, dict[str, str]]:
    """Return the state in a reasoning block as `providerMetadata`, empty if it has none."""
    extras = block.get("extras")
    given = {**block, **(extras if isinstance(extras, Mapping) else {})}
    found = {key for key in _STATE_KEYS if isinstance(given.get(key), str) and given[key]}
    if not found:
        return {}
    names = next((names for names in _NAMES if names.langchain == provider), None)
    names = names or (_NAMES[1] if "encrypted_content" in found else _NAMES[0])
    values = {sdk: value for sdk, key in names.values.items() if _is_text(value := given.get(key))}
    return {names.sdk: values} if values else {}


def text_state(block: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return the state of a text as `providerMetadata`; OpenAI tells commentary from the answer."""
    extras = block.get("extras")
    phase = block.get("phase") or (extras.get("phase") if isinstance(extras, Mapping) else None)
    return {"openai": {"phase": phase}} if phase in PHASES else {}


def text_signature(block: Mapping[str, Any]) -> str:
    """Return Gemini's signature of a text, or an empty text."""
    extras = block.get("extras")
    given = extras.get("signature") if isinstance(extras, Mapping) else None
    given = given or block.get("thought_signature")
    return given if _is_text(given) else ""


def signed(signature: str) -> dict[str, dict[str, str]]:
    """Return a signature of Gemini as `providerMetadata`."""
    return {"google": {"thoughtSignature": signature}}


def text_fields(text: StatedText) -> dict[str, Any]:
    """Return the fields of a text block that give its state back; empty if it has none."""
    phase = text.state.get("openai", {}).get("phase")
    if _is_text(phase) and phase in PHASES:
        return {"phase": phase}
    signature = text.state.get("google", {}).get("thoughtSignature")
    return {"extras": {"signature": signature}} if _is_text(signature) else {}


def call_state(message: AIMessage, call_id: str | None) -> dict[str, dict[str, str]]:
    """Return the state of a tool call as `providerMetadata`; Gemini signs calls too."""
    signatures = message.additional_kwargs.get(_GEMINI_CALLS)
    signature = signatures.get(call_id) if isinstance(signatures, Mapping) else None
    return signed(signature) if _is_text(signature) else {}


def provider_of(contents: Iterable[Content]) -> str | None:
    """Return LangChain's name of the provider that gave the state, if one is known."""
    for content in contents:
        if not isinstance(content, str):
            for names in _NAMES:
                if names.sdk in content.state:
                    return names.langchain
    return None


def reasoning_block(reasoning: Reasoning) -> dict[str, Any] | None:
    """Return the reasoning as LangChain's uniform block, with its state as `extras`.

    None without a state that LangChain gives back: a provider refuses reasoning that it cannot
    verify.
    """
    for names in _NAMES:
        given = reasoning.state.get(names.sdk, {})
        values = {key: given[sdk] for sdk, key in names.values.items() if _is_text(given.get(sdk))}
        if names.sdk == "anthropic" and "data" in values:
            block = {"type": "redacted_thinking", "data": values["data"]}
            return {"type": "non_standard", "value": block}
        if values:
            item_id = values.pop("id", None)
            block = {"type": "reasoning", "reasoning": reasoning.text, "extras": values}
            if names.sdk == "openai" and not reasoning.text:
                del block["reasoning"]
            return block if item_id is None else {**block, "id": item_id}
    return None


def state_beside(calls: Iterable[AnsweredCall]) -> dict[str, Any]:
    """Return the fields beside the content that hold the state of calls."""
    signatures = {
        call.call_id: signature
        for call in calls
        if _is_text(signature := call.state.get("google", {}).get("thoughtSignature"))
    }
    return {_GEMINI_CALLS: signatures} if signatures else {}


def _is_text(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and bool(value)
