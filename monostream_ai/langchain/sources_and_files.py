"""Sources that a model cites and files that it makes, each shown once in a message.

Citations and file blocks become `source-url`, `source-document` and `file` chunks.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from langchain_core.messages import AIMessage

from monostream_ai.json_text import encode_json
from monostream_ai.ui_messages import Chunk, UIMessageBuilder, to_json_value
from monostream_ai.ui_messages.browser_safety import is_link
from monostream_ai.ui_messages.unread import Unread

FILE_KINDS: Final[Mapping[str, str]] = {
    "image": "image/png",
    "audio": "audio/wav",
    "video": "video/mp4",
    "file": "application/octet-stream",
}
"""The types of content blocks that are files, and the media type to assume for each."""

_LISTS: Final = ("search_results", "citations")
_GROUNDINGS: Final = ("grounding_metadata", "groundingMetadata")
SOURCE_FIELDS: Final = (*_LISTS, *_GROUNDINGS)
"""Fields of a message, or of its metadata, with the sources of its content."""

DOCUMENT_TITLE: Final = "Source"
_ID_KEYS: Final = ("id", "file_id", "source")
"""Names of a document's id, by vendor: LangChain, OpenAI, then Anthropic."""


class SourcesAndFiles:
    """The sources and files of one message, without repetitions.

    Providers repeat a citation with each sentence, and once more in the final message.
    """

    def __init__(self, builder: UIMessageBuilder, unread: Unread) -> None:
        self._builder = builder
        self._unread = unread
        self._seen: set[object] = set()
        self._in_step: set[object] = set()

    def begin_step(self) -> None:
        self._in_step.clear()

    def forget_step(self) -> None:
        """Allow the sources and files of the open step again, since the step is taken back."""
        self._seen -= self._in_step

    def sources(self, block: Mapping[str, Any]) -> list[Chunk]:
        """Map the citations of a text block."""
        annotations = block.get("annotations") or block.get("citations")
        return self._all(annotations if isinstance(annotations, list) else ())

    def beside(self, message: AIMessage) -> list[Chunk]:
        """Map the sources that a message names beside its content."""
        return self._all(
            cited
            for fields in (message.additional_kwargs, message.response_metadata)
            for cited in _beside(fields)
        )

    def is_readable(self, block: Mapping[str, Any]) -> bool:
        """Whether a browser can open a file, image, audio or video block."""
        return _url(block) is not None

    def file(self, block: Mapping[str, Any]) -> list[Chunk]:
        """Map a file, image, audio or video block; left out if only the provider can open it."""
        url = _url(block)
        # A hash instead of the URL, which may hold megabytes.
        if url is None or not self._is_new(("file", hash(url), len(url))):
            return []
        return self._builder.file(url, media_type=_media_type(block))

    def _all(self, cited: Iterable[Any]) -> list[Chunk]:
        return [
            chunk
            for one in cited
            for chunk in (self._source(_sent(one)) if isinstance(one, Mapping) else self._keep(one))
        ]

    def _source(self, citation: Mapping[str, Any]) -> list[Chunk]:
        url, title = citation.get("url"), _text(citation.get("title"))
        if isinstance(url, str) and is_link(url):
            new = self._is_new(("url", url))
            return self._builder.source_url(url, url, title=title or None) if new else []
        filename, quoted = _text(citation.get("filename")), _text(citation.get("cited_text"))
        # A document in a bucket has an address that no browser can open.
        title = title or filename or _text(url)
        source_id = next(filter(None, (_text(citation.get(key)) for key in _ID_KEYS)), title)
        if not source_id and isinstance(number := citation.get("document_index"), int):
            source_id = f"document-{number}"
        if not source_id and not quoted:
            return self._keep(citation)
        source_id, title = source_id or DOCUMENT_TITLE, title or DOCUMENT_TITLE
        if not self._is_new(("document", source_id, title)):
            return []
        return self._builder.source_document(
            source_id, media_type="text/plain", title=title, filename=filename or None
        )

    def _keep(self, citation: Any) -> list[Chunk]:
        """Keep a citation that has no link, title, text or id."""
        value = to_json_value(citation)
        if not value or not self._is_new(("unread", encode_json(value))):
            return []
        return self._unread.keep("citation", value)

    def _is_new(self, key: object) -> bool:
        new = key not in self._seen
        if new:
            self._seen.add(key)
            self._in_step.add(key)
        return new


def _sent(citation: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return all fields of a citation on one level, in its provider's form too."""
    nested = [citation.get(key) for key in ("value", "extras", "url_citation")]
    fields = [field for field in nested if isinstance(field, Mapping)]
    return {key: value for field in [*fields, citation] for key, value in field.items()}


def _beside(fields: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the sources in the fields of a message.

    Those are the search results and citations of Perplexity and xAI, and Gemini's grounding.
    """
    for key in _LISTS:
        listed = fields.get(key)
        for source in listed if isinstance(listed, list) else (listed,) if listed else ():
            yield {"url": source} if isinstance(source, str) else source
    grounding = next((fields[key] for key in _GROUNDINGS if fields.get(key)), None)
    if not isinstance(grounding, Mapping):
        return
    pieces = grounding.get("grounding_chunks") or grounding.get("groundingChunks")
    for piece in pieces if isinstance(pieces, list) else ():
        for place in piece.values() if isinstance(piece, Mapping) else ():
            if isinstance(place, Mapping):
                yield {"url": place.get("uri"), "title": place.get("title")}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _url(block: Mapping[str, Any]) -> str | None:
    data, url = block.get("base64"), block.get("url")
    if isinstance(data, str) and data:
        return f"data:{_media_type(block)};base64,{data}"
    readable = isinstance(url, str) and (url.startswith("data:") or is_link(url))
    return url if readable and isinstance(url, str) else None


def _media_type(block: Mapping[str, Any]) -> str:
    given = block.get("mime_type")
    if isinstance(given, str) and given:
        return given
    url = block.get("url")
    guessed = mimetypes.guess_type(url)[0] if isinstance(url, str) else None
    return guessed or FILE_KINDS[str(block.get("type"))]
