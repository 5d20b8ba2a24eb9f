"""Events of the Responses API, as whole as the Agents SDK wants them."""

from __future__ import annotations

from typing import Any

Events = list[dict[str, Any]]


def response(response_id: str, item: dict[str, Any], *between: dict[str, Any]) -> Events:
    whole = {
        "id": response_id,
        "object": "response",
        "created_at": 0,
        "model": "gpt-5",
        "output": [item],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": 10,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": 5,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 15,
        },
    }
    events = [
        {"type": "response.created", "response": {**whole, "output": [], "status": "in_progress"}},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        *between,
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": {**whole, "status": "completed"}},
    ]
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


def calling(call_id: str, name: str, arguments: str) -> Events:
    item = {"id": f"fc_{call_id}", "type": "function_call", "status": "completed"}
    return response(
        f"r_{call_id}", {**item, "call_id": call_id, "name": name, "arguments": arguments}
    )


def saying(text: str) -> Events:
    content = [{"type": "output_text", "text": text, "annotations": []}]
    item = {"id": "m", "type": "message", "role": "assistant", "status": "completed"}
    place = {"item_id": "m", "output_index": 0, "content_index": 0, "logprobs": []}
    delta = {"type": "response.output_text.delta", **place, "delta": text}
    return response("r_said", {**item, "content": content}, delta)
