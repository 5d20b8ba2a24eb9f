"""The contents of UI messages as input for a model, independent of the provider's format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from monostream_ai.errors import InvalidArgument
from monostream_ai.json_text import encode_json
from monostream_ai.ui_messages.held_files import HeldFile, file_note, replace_files
from monostream_ai.ui_messages.texts import FILE_REFUSED_TEXT, FILE_SHOWN_TEXT, file_text

ProviderState: TypeAlias = Mapping[str, Mapping[str, Any]]
"""The `providerMetadata` of a part: values by name, for each provider. It comes from a client."""


@dataclass(frozen=True, slots=True)
class FileInput:
    """A user's file. `url` is a link, or a data URL in base64.

    `file_id` names a file that the provider has; it is read in place of the URL. `in_last` says
    that the last message has it, the one that is to be answered.
    """

    place: str
    url: str
    media_type: str
    filename: str | None
    file_id: str | None = None
    in_last: bool = True

    @property
    def base64(self) -> str | None:
        """The content, if the message holds it."""
        held = self.file_id is None and self.url.startswith("data:")
        return self.url.partition(",")[2] if held else None


def given_or_named(
    content: str | FileInput, convert: Callable[[str | FileInput], dict[str, Any]]
) -> dict[str, Any]:
    """Convert a content of a user's message for an API. A file that the API does not take becomes
    a text that names it, if the question with this file was asked before: that one got the error,
    and its history would fail for ever.

    Raises:
        InvalidArgument: The API takes no such file, and the last message has it.
    """
    try:
        return convert(content)
    except InvalidArgument:
        if isinstance(content, str) or content.in_last:
            raise
        return convert(refused_text(content.media_type))


def refused_text(media_type: str) -> str:
    """Return the text that stands for a file which no model gets."""
    return file_text(FILE_REFUSED_TEXT, media_type, 0)


@dataclass(frozen=True, slots=True)
class Said:
    """A message of the user or the system: texts, files, and results of `convert_data_part`."""

    role: str
    contents: list[str | FileInput | dict[str, Any]]
    message_id: str | None


@dataclass(frozen=True, slots=True)
class Reasoning:
    """Reasoning with the state that its provider wants back, such as a signature."""

    text: str
    state: ProviderState


@dataclass(frozen=True, slots=True)
class AnsweredCall:
    """A tool call with its result: any JSON value, or if it `failed` a text for the model."""

    call_id: str
    name: str
    arguments: dict[str, Any]
    output: Any
    failed: bool
    state: ProviderState = field(default_factory=dict)

    @property
    def arguments_text(self) -> str:
        return encode_json(self.arguments)

    @property
    def shown_output(self) -> Any:
        """The result with a short text in the place of each file that it holds as base64."""
        shown = replace_files(self.output, _shown)
        alone = isinstance(self.output, str) and isinstance(shown, dict)
        return shown["text"] if alone else shown

    @property
    def output_text(self) -> str:
        """The shown output as text."""
        output = self.shown_output
        return output if isinstance(output, str) else encode_json(output)


@dataclass(frozen=True, slots=True)
class ProviderCall:
    """A call of a tool that the provider runs, with its result in the shape of the AI SDK, or if it
    `failed` the text of the error. A call that is `waiting` has no result so far.
    """

    name: str
    call_id: str
    arguments: dict[str, Any]
    output: Any
    failed: bool
    state: ProviderState
    result_state: ProviderState
    waiting: bool


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file that a model made, or that a tool showed outside its result.

    `note` is a short text that names it, for APIs that take no file from a model. `held` is its
    content, if it was asked for and the message holds it. `file_id` names a file that the provider
    has. `thinks` marks a file that is part of the reasoning.
    """

    note: str
    media_type: str
    held: HeldFile | None
    file_id: str | None
    thinks: bool
    state: ProviderState


@dataclass(frozen=True, slots=True)
class StatedText:
    """Text with state that its provider wants back, such as citations or a signature."""

    text: str
    state: ProviderState


@dataclass(frozen=True, slots=True)
class ApprovalAnswer:
    """A user's answer to a provider that asked before a call, as of an MCP server."""

    approval_id: str
    approved: bool
    name: str
    arguments: dict[str, Any]
    state: ProviderState


Content: TypeAlias = (
    str | StatedText | Reasoning | ModelFile | AnsweredCall | ProviderCall | ApprovalAnswer
)
"""A piece of an answer of a model. `StatedText`, `ProviderCall` and files that are part of the
reasoning are read on request.
"""


@dataclass(frozen=True, slots=True)
class Step:
    """The text of one model call, and the tools it called with their results.

    The text has a paragraph that names a file in the place of each file.
    """

    text: str
    calls: list[AnsweredCall]
    step_id: str | None
    """The message id and the 0-based number of the step: `<message id>-<number>`."""

    contents: tuple[Content, ...] = ()
    """The text, the reasoning that has state, the files, the calls and the approvals, in order."""


def text_of(contents: Iterable[Content]) -> str:
    """Return the text of contents, with a paragraph that names a file in the place of each."""
    paragraphs = [""]
    for content in contents:
        if isinstance(content, str | StatedText):
            paragraphs[-1] += content if isinstance(content, str) else content.text
        elif isinstance(content, ModelFile) and not content.thinks:
            paragraphs += [content.note, ""]
    return "\n\n".join(filter(None, paragraphs))


def _shown(file: HeldFile) -> dict[str, str]:
    return file_note(FILE_SHOWN_TEXT, file)


def add_turn(turns: list[dict[str, Any]], role: str, key: str, items: list[dict[str, Any]]) -> None:
    """Append a turn with items under `key`; turns of one role that follow each other are one."""
    if items and turns and turns[-1]["role"] == role:
        turns[-1][key] += items
    elif items:
        turns.append({"role": role, key: items})
