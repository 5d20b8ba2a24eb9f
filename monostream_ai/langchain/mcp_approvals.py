"""Answers to OpenAI, which asks before it calls a tool of an MCP server."""

from __future__ import annotations

from typing import Any

from monostream_ai.json_text import encode_json
from monostream_ai.ui_messages.model_contents import (
    ApprovalAnswer,
)


def approval_request(answer: ApprovalAnswer) -> dict[str, Any]:
    """Return the provider's question again, as a block of its answer."""
    label = answer.state.get("openai", {}).get("serverLabel")
    request = {
        "type": "mcp_approval_request",
        "id": answer.approval_id,
        "name": answer.name,
        "arguments": encode_json(answer.arguments),
        "server_label": label if isinstance(label, str) else "",
    }
    return {"type": "non_standard", "value": request}


def approval_response(answer: ApprovalAnswer) -> dict[str, Any]:
    """Return the user's answer, as a block of the next message.

    Source: langchain-openai 1.7.4, `_construct_responses_api_input`.
    """
    return {
        "type": "mcp_approval_response",
        "approval_request_id": answer.approval_id,
        "approve": answer.approved,
    }
