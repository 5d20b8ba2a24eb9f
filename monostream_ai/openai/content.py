"""Reads content of any shape: a text, a list of parts, or a part with others inside.

OpenAI sends texts. Servers that copy its API send what their own API has: Mistral's thoughts are
lists inside lists, OpenRouter's images are parts beside the text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple

from monostream_ai.recording.fields import to_json
from monostream_ai.ui_messages.browser_safety import is_link

Kind = Literal["text", "reasoning", "refusal", "file", "source", "audio", "unread"]
Spoken = Literal["text", "reasoning", "refusal"]


class Piece(NamedTuple):
    """A piece of content. The value of a spoken kind is a text, that of a file its `File`."""

    kind: Kind
    value: Any


class File(NamedTuple):
    url: str
    media_type: str


_SPOKEN_TYPES: Final[Mapping[object, Spoken]] = {
    "refusal": "refusal",
    **dict.fromkeys(
        (
            "thinking",
            "reasoning",
            "reasoning_text",
            "reasoning_content",
            "summary_text",
            "reasoning.text",
            "reasoning.summary",
        ),
        "reasoning",
    ),
}
_TEXT_KEYS: Final[Mapping[str, Spoken | None]] = {
    "text": None,
    "content": None,
    "transcript": None,
    "output_text": None,
    "refusal": "refusal",
    "thinking": "reasoning",
    "reasoning": "reasoning",
    "reasoning_content": "reasoning",
    "summary": "reasoning",
}
"""Keys that hold text, and its kind where the key tells it."""

_FILE_TYPES: Final[Mapping[object, str]] = {
    **dict.fromkeys(("image_url", "image", "output_image", "input_image"), "image/png"),
    **dict.fromkeys(("image-url", "image-data"), "image/png"),
    **dict.fromkeys(("video_url", "video"), "video/mp4"),
    **dict.fromkeys(("file", "output_file", "input_file"), "application/octet-stream"),
    **dict.fromkeys(("media", "file-url", "file-data"), "application/octet-stream"),
    "document_url": "application/pdf",
}
_SOURCE_TYPES: Final = frozenset({"tool_reference", "reference", "citation", "url_citation"})
"""Parts that cite a page in the middle of the text, if they have its URL: of Mistral."""

_AUDIO_TYPES: Final = frozenset({"audio", "output_audio", "input_audio", "audio_url"})
_URL_KEYS: Final = (
    "image_url",
    "video_url",
    "audio_url",
    "file_url",
    "document_url",
    "url",
    "file_data",
)
_DATA_KEYS: Final = ("b64_json", "base64", "data", "result")
_MEDIA_KEYS: Final = ("mime_type", "media_type", "mimeType", "mediaType")
_SOURCE_KEYS: Final = ("annotations", "citations")
PLUMBING: Final = frozenset(
    {
        "type",
        "id",
        "index",
        "status",
        "role",
        "phase",
        "logprobs",
        "obfuscation",
        "signature",
        "encrypted_content",
        "format",
        "detail",
        "expires_at",
        "cache_control",
        "closed",
    }
)
"""Keys of a part that hold no content: names, places, and state for the next request."""


def read_content(value: Any, kind: Spoken = "text") -> Iterator[Piece]:
    """Yield the pieces of content, in their order; nothing that it holds is left out.

    Args:
        value: A text, a list of parts, a part as an object or a dict, or None.
        kind: The kind of a text that does not say what it is.
    """
    if isinstance(value, str):
        if value:
            yield Piece(kind, value)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from read_content(each, kind)
    elif value is not None:
        part = to_json(value)
        if isinstance(part, dict):
            yield from _read_part(part, kind)
        else:
            yield Piece("unread", part)


def text_of(value: Any) -> str:
    """Return the spoken text of content, whatever its kind."""
    if isinstance(value, str):
        return value
    spoken = ("text", "reasoning", "refusal")
    return "".join(piece.value for piece in read_content(value) if piece.kind in spoken)


def file_of(part: Mapping[str, Any]) -> File | None:
    """Return the file of a part, or None if a browser cannot open it."""
    media_type = _FILE_TYPES.get(_type_of(part), "application/octet-stream")
    given = next((part[key] for key in _MEDIA_KEYS if isinstance(part.get(key), str)), "")
    for key in _URL_KEYS:
        url = part.get(key)
        url = url.get("url") if isinstance(url, Mapping) else url
        if isinstance(url, str) and url[:5].lower() == "data:":
            named = url[5:].partition(",")[0].partition(";")[0]
            return File(url, given or named or media_type)
        if isinstance(url, str) and is_link(url):
            return File(url, given or media_type)
    for key in _DATA_KEYS:
        if isinstance(data := part.get(key), str) and data:
            return File(f"data:{given or media_type};base64,{data}", given or media_type)
    inner = part.get("file") or part.get("image")
    return file_of({"type": part.get("type"), **inner}) if isinstance(inner, Mapping) else None


def _type_of(part: Mapping[str, Any]) -> str:
    given = part.get("type")
    return given if isinstance(given, str) else ""


def _read_part(part: dict[str, Any], kind: Spoken) -> Iterator[Piece]:
    given = _type_of(part)
    if given in _AUDIO_TYPES:
        yield from _read_audio(part, kind)
        return
    if given in _FILE_TYPES and (file := file_of(part)) is not None:
        yield Piece("file", file)
        return
    if given in _SOURCE_TYPES and is_link(str(part.get("url"))):
        yield Piece("source", part)
        return
    said, texts, rest = _SPOKEN_TYPES.get(given, kind), set[str](), dict[str, Any]()
    for key, inner in part.items():
        if key in _TEXT_KEYS:
            pieces = list(read_content(inner, _TEXT_KEYS[key] or said))
            # Some servers repeat a text under a second key.
            text = "".join(piece.value for piece in pieces if isinstance(piece.value, str))
            yield from () if text and text in texts else pieces
            texts.add(text)
        elif key in _SOURCE_KEYS and isinstance(inner, list):
            yield from (Piece("source", each) for each in inner)
        elif key not in PLUMBING and inner not in (None, "", [], {}):
            rest[key] = inner
    if rest:
        yield Piece("unread", {"type": given, **rest} if given else rest)


def _read_audio(part: dict[str, Any], kind: Spoken) -> Iterator[Piece]:
    nested = next((part[key] for key in _AUDIO_TYPES if isinstance(part.get(key), dict)), None)
    audio = {**part, **(nested or {})}
    yield from read_content(audio.get("transcript"), kind)
    if isinstance(data := audio.get("data"), str) and data:
        yield Piece("audio", data)
    rest = {
        key: value
        for key, value in audio.items()
        if key not in PLUMBING | {"transcript", "data", *_AUDIO_TYPES} and value
    }
    if rest:
        yield Piece("unread", {"type": part.get("type"), **rest})
