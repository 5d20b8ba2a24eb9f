"""Finds files that a JSON value holds as base64, as the results of tools do, and replaces them.

Each SDK has its own form of them: LangChain's content blocks, the content of MCP, the parts of
OpenAI, Anthropic, Gemini and the AI SDK. Some tools return nothing but the base64 text.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import unquote_to_bytes

from monostream_ai.ui_messages.texts import file_text

SHORTEST: Final = 256
"""Characters from which base64 text without a media type counts as a file by its first bytes."""

DEEPEST: Final = 32
"""Levels of a value that are searched."""

_DATA_URL: Final = re.compile("data:([^,;]*)[^,]*;base64,", re.IGNORECASE)
_PLAIN_URL: Final = re.compile(r"data:([\w.+-]+/[\w.+-]+)(?:;[^,;]*)*,", re.ASCII | re.IGNORECASE)
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_\r\n-]+={0,2}")
_UNUSUAL: Final = re.compile(r"[\r\n_-]")
_MEDIA_KEYS: Final = ("mime_type", "mimeType", "media_type", "mediaType")
_DATA_KEYS: Final = ("base64", "data", "blob", "b64_json", "fileData", "file_data", "imageData")
_HOLDERS: Final = (
    "source",
    "resource",
    "file",
    "image",
    "image_url",
    "video_url",
    "audio_url",
    "input_audio",
    "audio",
    "inline_data",
    "inlineData",
)
"""Keys of a part whose value may hold the file."""

_URL_KEYS: Final = (
    "image_url",
    "video_url",
    "audio_url",
    "file_url",
    "url",
    "uri",
    "data",
    "file_data",
)
_ASSUMED: Final[Mapping[object, str]] = {
    **dict.fromkeys(
        ("image", "image_url", "input_image", "output_image", "image-data"), "image/png"
    ),
    **dict.fromkeys(("audio", "input_audio", "output_audio"), "audio/wav"),
    "video": "video/mp4",
    **dict.fromkeys(
        ("file", "input_file", "file-data", "document", "media"), "application/octet-stream"
    ),
}
"""The media type to assume for a part of a type."""

_BEGINNINGS: Final = (
    ("iVBORw0KGgo", "image/png"),
    ("/9j/", "image/jpeg"),
    ("R0lGOD", "image/gif"),
    ("JVBERi0", "application/pdf"),
)
"""The base64 of the first bytes of well-known formats."""


class HeldFile(NamedTuple):
    """A file as base64 text."""

    base64: str
    media_type: str

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.base64) * 3 // 4 - self.base64[-2:].count("=")

    def content(self) -> bytes:
        """Return the bytes of the file.

        Raises:
            binascii.Error: The text is not base64.
        """
        return base64.b64decode(self.base64, validate=True)

    @property
    def url(self) -> str:
        return f"data:{self.media_type};base64,{self.base64}"


def file_of_url(url: str, media_type: str = "") -> HeldFile | None:
    """Return the file in a data URL, or None for any other URL."""
    found = _DATA_URL.match(url)
    if found is None:
        return _file_of_plain_url(url, media_type)
    data = _plain(url[found.end() :])
    return HeldFile(data, media_type or found[1] or "application/octet-stream") if data else None


def _file_of_plain_url(url: str, media_type: str) -> HeldFile | None:
    """Return the file in a data URL that is not base64, such as that of an SVG image."""
    found = _PLAIN_URL.match(url)
    if found is None:
        return None
    try:
        data = base64.b64encode(unquote_to_bytes(url[found.end() :])).decode()
    except UnicodeEncodeError:
        return None
    return HeldFile(data, media_type or found[1])


def files_in(value: Any) -> Iterator[HeldFile]:
    """Yield the files that a JSON value holds, in their order."""
    found: list[HeldFile] = []

    def note(file: HeldFile) -> None:
        found.append(file)

    replace_files(value, note)
    yield from found


def replace_files(
    value: Any, replacement: Callable[[HeldFile], dict[str, Any] | None], *, depth: int = 0
) -> Any:
    """Return the value with files replaced by objects, or the value itself if none is.

    A part keeps its other keys, such as a name. Values that are nested deeper than any content are
    not searched.

    Args:
        replacement: Returns None for a file that stays.
    """
    if depth > DEEPEST:
        return value
    if isinstance(value, str):
        file = _file_of_text(value)
        new = None if file is None else replacement(file)
        return value if new is None else new
    if isinstance(value, list):
        replaced = [replace_files(each, replacement, depth=depth + 1) for each in value]
        same = all(new is old for new, old in zip(replaced, value, strict=True))
        return value if same else replaced
    if not isinstance(value, dict):
        return value
    if (found := _file_of_part(value)) is not None:
        file, used = found
        if (new := replacement(file)) is None:
            return value
        return {**{key: each for key, each in value.items() if key not in used}, **new}
    changed = {
        key: replace_files(each, replacement, depth=depth + 1) for key, each in value.items()
    }
    return value if all(changed[key] is value[key] for key in value) else changed


def file_note(text: str, file: HeldFile) -> dict[str, str]:
    """Return the content part that stands for a file in the result of a tool."""
    return {"type": "text", "text": file_text(text, file.media_type, file.size)}


def _file_of_part(part: Mapping[str, Any]) -> tuple[HeldFile, frozenset[str]] | None:
    """Return the file of a content part, and the keys that describe it."""
    file, used = _file_in(part, part), {"type", "source_type", "detail", *_MEDIA_KEYS}
    if file is not None:
        return file, frozenset({*used, *_DATA_KEYS, *_URL_KEYS, "format"})
    for key in _HOLDERS:
        held = part.get(key)
        if isinstance(held, Mapping) and (file := _file_in(held, part)) is not None:
            return file, frozenset({*used, key})
    return None


def _file_in(held: Mapping[str, Any], part: Mapping[str, Any]) -> HeldFile | None:
    named = _media_type(held) or _media_type(part)
    for key in _URL_KEYS:
        url = held.get(key)
        if isinstance(url, str) and (file := _whole(file_of_url(url, named))) is not None:
            return file
    kind = part.get("type")
    assumed = _ASSUMED.get(kind) if isinstance(kind, str) else None
    media_type = named or _of_format(held) or assumed
    if held.get("type") == "text":
        # The data of Anthropic's plain text documents is the text itself.
        return None
    for key in _DATA_KEYS:
        data = held.get(key)
        known = media_type or ("image/png" if key == "b64_json" else None)
        if known and known.startswith("text/") and not assumed and held is part:
            # It may be plain text as well.
            continue
        if known and isinstance(data, str) and (plain := _plain(data)):
            return _whole(HeldFile(plain, known))
    return None


def _media_type(holder: Mapping[str, Any]) -> str:
    return next((holder[key] for key in _MEDIA_KEYS if isinstance(holder.get(key), str)), "")


def _of_format(holder: Mapping[str, Any]) -> str:
    """Return the media type of OpenAI's `input_audio`, which names a format instead."""
    given = holder.get("format")
    return f"audio/{given}" if isinstance(given, str) and given.isalnum() else ""


def _file_of_text(text: str) -> HeldFile | None:
    if text[:5].lower() == "data:":
        return _whole(file_of_url(text))
    if len(text) < SHORTEST:
        return None
    media_type = next((kind for start, kind in _BEGINNINGS if text.startswith(start)), None)
    data = _plain(text) if media_type is not None else ""
    return _whole(HeldFile(data, media_type)) if media_type is not None and data else None


def _whole(file: HeldFile | None) -> HeldFile | None:
    """Return the file unless its text has a length that no base64 has."""
    return None if file is None or file.base64.endswith("===") else file


def _plain(text: str) -> str:
    """Return base64 text in its usual alphabet and without line breaks; empty if it is none."""
    if not _BASE64.fullmatch(text.rstrip()):
        return ""
    plain = text
    if _UNUSUAL.search(text):
        plain = "".join(text.split()).replace("-", "+").replace("_", "/")
    # Some encoders leave the padding out, but a short text without it is hardly base64.
    missing = -len(plain) % 4
    return plain + "=" * missing if not missing or len(plain) >= SHORTEST else ""
