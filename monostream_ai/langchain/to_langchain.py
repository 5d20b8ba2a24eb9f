"""Turns the UI messages that a client sends into LangChain messages.

The other direction, from LangChain to the client, is `mapper`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeAlias, Unpack

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolCall,
    ToolMessage,
)

from monostream_ai.langchain.mcp_approvals import approval_request, approval_response
from monostream_ai.langchain.reasoning_state import (
    provider_of,
    reasoning_block,
    state_beside,
    text_fields,
)
from monostream_ai.ui_messages.model_contents import (
    AnsweredCall,
    ApprovalAnswer,
    Content,
    FileInput,
    ModelFile,
    Reasoning,
    Said,
    StatedText,
    Step,
)
from monostream_ai.ui_messages.model_input import InputOptions, read_model_input

MEDIA_KINDS: Final = frozenset({"image", "audio", "video"})

Block: TypeAlias = dict[str, Any]


def to_langchain_messages(
    messages: Sequence[Mapping[str, Any]], **options: Unpack[InputOptions]
) -> list[BaseMessage]:
    """Return the messages to give to a model.

    Each step of an assistant message becomes one `AIMessage` with its tool calls, followed by their
    `ToolMessage`s. Reasoning is given back with the state that its provider wants back, such as a
    signature. A file that the result of a tool holds as base64 becomes a short text: as JSON it
    would cost much and say nothing. So does a file of the model, since most providers refuse one
    in an answer. An answer to a provider that asked before a call to an MCP
    server follows as a `HumanMessage` with OpenAI's `mcp_approval_response`. Left out are calls
    without a result, since providers refuse them, and other reasoning, sources, and parts of
    unknown types.

    Args:
        messages: `UIMessage`s as JSON: `{id, role, parts}`. They come from a client, which may have
            forged them.
        allow_system: Accept system messages too. Off by default: a client could replace your
            instructions.
        url_schemes: URL schemes allowed for a user's files; `https` and `data` by default.
        file_ids: Ids of files uploaded to the provider that this user may name, as
            `providerReference` or as the URL of a file; none by default. A user who could name any
            id would read the files of others.
        max_bytes: UTF-8 bytes that may reach the model, all messages together; 32 MiB by default.
            A provider charges for each of them.
        convert_data_part: Returns the content block for a user's `data-*` part, or None to leave it
            out. Without it all are left out.

    Raises:
        InvalidArgument: It is not a list of UI messages, the URL of a file of the last one is not
            allowed, or the messages are too large. The text names the place. Such a file of an
            earlier message becomes a text that says so.
    """
    return [
        message
        for said in read_model_input(messages, **options, states=True)
        for message in (_step(_with_text_state(said)) if isinstance(said, Step) else [_said(said)])
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
    if file.file_id is not None:
        block["file_id"] = file.file_id
    else:
        block.update({"url": file.url} if data is None else {"base64": data})
    if file.filename is not None:
        # OpenAI refuses a document without a name.
        block["extras"] = {"filename": file.filename}
    return block


def _with_text_state(step: Step) -> Step:
    """Return the step with the state of its texts only where LangChain can give it back."""
    contents = tuple(
        content.text if isinstance(content, StatedText) and not text_fields(content) else content
        for content in step.contents
    )
    return replace(step, contents=contents)


def _step(step: Step) -> Iterator[BaseMessage]:
    yield _answer(step)
    for call in step.calls:
        status: Any = "error" if call.failed else "success"
        yield ToolMessage(
            _output_text(call), tool_call_id=call.call_id, name=call.name, status=status
        )
    answers: Any = [
        approval_response(content)
        for content in step.contents
        if isinstance(content, ApprovalAnswer)
    ]
    if answers:
        yield HumanMessage(answers)


def _answer(step: Step) -> AIMessage:
    calls = [_call(call) for call in step.calls]
    if not _needs_blocks(step):
        return AIMessage(step.text, tool_calls=calls, id=step.step_id)
    provider = provider_of(_with_state(step))
    blocks = map(_answer_block, step.contents)
    content: Any = [block for block in blocks if block is not None]
    # LangChain's packages turn these blocks into those of their own provider.
    metadata = {"output_version": "v1", **({"model_provider": provider} if provider else {})}
    return AIMessage(
        content,
        tool_calls=calls,
        id=step.step_id,
        response_metadata=metadata,
        additional_kwargs=state_beside(step.calls),
    )


def _answer_block(content: Content) -> Any:
    if isinstance(content, str):
        return {"type": "text", "text": content}
    if isinstance(content, StatedText):
        return {"type": "text", "text": content.text, **text_fields(content)}
    if isinstance(content, Reasoning):
        return reasoning_block(content)
    if isinstance(content, ApprovalAnswer):
        return approval_request(content)
    if isinstance(content, ModelFile):
        return {"type": "text", "text": content.note}
    return _call(content) if isinstance(content, AnsweredCall) else None


def _call(call: AnsweredCall) -> ToolCall:
    return ToolCall(type="tool_call", id=call.call_id, name=call.name, args=call.arguments)


def _needs_blocks(step: Step) -> bool:
    """Whether a plain text would lose the state of reasoning, or the order of text and calls."""
    kinds = [type(content) for content in step.contents]
    first_call = kinds.index(AnsweredCall) if AnsweredCall in kinds else len(kinds)
    has_state = provider_of(_with_state(step)) is not None
    return has_state or ApprovalAnswer in kinds or str in kinds[first_call:]


def _with_state(step: Step) -> list[Content]:
    """Return the contents whose state goes back; that of a file does not."""
    return [content for content in step.contents if not isinstance(content, ModelFile)]


def _output_text(call: AnsweredCall) -> str:
    # Exactly as LangGraph's ToolNode writes it, so that a provider's prompt cache still matches.
    output = call.shown_output
    return output if isinstance(output, str) else json.dumps(output, ensure_ascii=False)
