"""UI messages, as a client sends them, to LangChain messages."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias, Unpack

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolCall,
    ToolMessage,
)

from monostream_ai.ui_messages.model_input import (
    AnsweredCall,
    FileInput,
    InputOptions,
    Said,
    Step,
    read_model_input,
)

MEDIA_KINDS: Final = frozenset({"image", "audio", "video"})

Block: TypeAlias = dict[str, Any]


def to_langchain_messages(
    messages: Sequence[Mapping[str, Any]], **options: Unpack[InputOptions]
) -> list[BaseMessage]:
    """Return the messages to give to a model.

    Each step of an assistant message becomes one `AIMessage` with its tool calls, followed by their
    `ToolMessage`s. Calls without a result are left out, since providers refuse them; so are
    reasoning, sources, and parts of unknown types.

    Args:
        messages: `UIMessage`s as JSON: `{id, role, parts}`. They come from a client: read them as
            such.
        allow_system: Take system messages too, which is off by default; a client could rewrite your
            instructions with them.
        url_schemes: Where a user's files may come from; `https` and `data` by default.
        max_bytes: UTF-8 of all that may reach the model, 32 MiB by default; a model's provider
            charges for it.
        convert_data_part: Returns the content block for a user's `data-*` part, or None to leave it
            out. Without it all are.

    Raises:
        InvalidArgument: This is no list of UI messages, a file's URL is not allowed, or it is too
            much; it names the place.
    """
    read = read_model_input(messages, **options)
    return [
        message
        for said in read
        for message in (_step(said) if isinstance(said, Step) else [_said(said)])
    ]


def _said(said: Said) -> BaseMessage:
    blocks = [_block(content) for content in said.contents]
    if said.role == "system":
        return SystemMessage(blocks[0]["text"], id=said.message_id)
    if len(blocks) == 1 and blocks[0]["type"] == "text":
        return HumanMessage(blocks[0]["text"], id=said.message_id)
    content: Any = blocks
    return HumanMessage(content_blocks=content, id=said.message_id)


def _block(content: str | FileInput | Block) -> Block:
    if isinstance(content, str):
        return {"type": "text", "text": content}
    return _file(content) if isinstance(content, FileInput) else content


def _file(file: FileInput) -> Block:
    kind, data = file.media_type.partition("/")[0], file.base64
    block: Block = {"type": kind if kind in MEDIA_KINDS else "file", "mime_type": file.media_type}
    block.update({"url": file.url} if data is None else {"base64": data})
    # OpenAI refuses a document without a name.
    if file.filename is not None:
        block["extras"] = {"filename": file.filename}
    return block


def _step(step: Step) -> Iterator[BaseMessage]:
    calls = [
        ToolCall(type="tool_call", id=call.call_id, name=call.name, args=call.arguments)
        for call in step.calls
    ]
    yield AIMessage(step.text, tool_calls=calls, id=step.step_id)
    for call in step.calls:
        status: Any = "error" if call.failed else "success"
        yield ToolMessage(
            _output_text(call), tool_call_id=call.call_id, name=call.name, status=status
        )


def _output_text(call: AnsweredCall) -> str:
    # As LangGraph's ToolNode writes it, so that a provider's prompt cache knows the text again.
    return (
        call.output if isinstance(call.output, str) else json.dumps(call.output, ensure_ascii=False)
    )
