"""State that a server wants back with the thoughts of a chat completion.

OpenRouter sends it as `reasoning_details`, LiteLLM as `thinking_blocks`; both are given back as
they came, with the pieces of one block joined. DeepSeek, Kimi and GLM want the thoughts themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from monostream_ai.recording.fields import get, get_list, get_text, to_json
from monostream_ai.ui_messages import Chunk
from monostream_ai.ui_messages.model_contents import Reasoning
from monostream_ai.ui_messages.model_output import Speech

FIELDS: Final = (("openrouter", "reasoning_details"), ("litellm", "thinking_blocks"))
"""Name of the server in `providerMetadata`, and its field in a delta and in a message."""

TEXT_FIELD: Final = "reasoning_content"
"""The field of the thoughts that goes back: DeepSeek refuses a conversation with calls without it.

A server that sends thoughts in any other field, as OpenAI does not at all, does not get them.
Source: https://api-docs.deepseek.com/guides/thinking_mode.
"""
_BY_TEXT: Final = {"openaiCompatible": {"reasoningField": TEXT_FIELD}}
_STATE_KEYS: Final = frozenset({"signature", "data", "encrypted_content"})
_JOINED: Final = frozenset({"text", "thinking", "summary", *_STATE_KEYS})


class ReasoningState:
    """Collects the blocks of one completion until its thoughts have ended."""

    def __init__(self) -> None:
        self._blocks: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self._has_text = False

    def read(self, delta: Mapping[str, Any]) -> None:
        self._has_text = self._has_text or bool(get_text(delta, TEXT_FIELD))
        for field in FIELDS:
            for given in get_list(delta, field[1]):
                block = to_json(given)
                if isinstance(block, dict):
                    self._add(self._blocks.setdefault(field, []), block)

    def end(self, speech: Speech) -> list[Chunk]:
        """End the thoughts with their state; nothing if they have none."""
        if not self._blocks and not self._has_text:
            return []
        blocks, self._blocks = self._blocks, {}
        has_text, self._has_text = self._has_text, False
        state: dict[str, Any] = {
            server: {field: listed}
            for (server, field), listed in blocks.items()
            if any(_STATE_KEYS & block.keys() for block in listed)
        }
        if has_text:
            state |= _BY_TEXT
        if not state:
            return []
        *before, end = speech.end_reasoning()
        return [*before, {**end, "providerMetadata": state}]

    def _add(self, blocks: list[dict[str, Any]], block: dict[str, Any]) -> None:
        last = blocks[-1] if blocks else None
        if last is None or _is_another(last, block):
            blocks.append(block)
            return
        for key, value in block.items():
            joins = key in _JOINED and isinstance(value, str) and isinstance(last.get(key), str)
            last[key] = last[key] + value if joins else value


def state_fields(thought: Reasoning) -> dict[str, list[Any] | str]:
    """Return the fields of an assistant message that give a thought or its state back."""
    fields: dict[str, list[Any] | str] = {
        field: list(blocks)
        for server, field in FIELDS
        if (blocks := get_list(thought.state.get(server), field))
    }
    by_text = get(thought.state, "openaiCompatible", "reasoningField") == TEXT_FIELD
    return {**fields, TEXT_FIELD: thought.text} if by_text and thought.text else fields


def _is_another(last: dict[str, Any], block: dict[str, Any]) -> bool:
    if last.get("index") != block.get("index") or last.get("type") != block.get("type"):
        return True
    # Without an index, a block ends with its signature.
    return block.get("index") is None and bool(get(last, "signature") or get(last, "data"))
