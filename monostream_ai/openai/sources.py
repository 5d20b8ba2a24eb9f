"""Citations and search results, as sources of the message."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from monostream_ai.recording.fields import get, get_list, get_text, to_json
from monostream_ai.recording.message import Recording
from monostream_ai.ui_messages import Chunk
from monostream_ai.ui_messages.browser_safety import is_link
from monostream_ai.ui_messages.unread import Unread

_LISTS: Final = ("search_results", "web_search", "citations")
"""Lists of sources beside the answer, those with titles first: of Perplexity, Z.ai, also of xAI."""
_GROUNDINGS: Final = ("grounding_metadata", "groundingMetadata", "vertex_ai_grounding_metadata")
SOURCE_FIELDS: Final = (*_LISTS, *_GROUNDINGS)
_MEDIA_TYPE: Final = "text/plain"
"""Of every cited file, as in @ai-sdk/openai: the API does not tell it."""


def source_of(recording: Recording, unread: Unread, annotation: Any) -> list[Chunk]:
    """Map a citation of a page or a file, unless its source was shown before.

    One that names neither is kept as unread.
    """
    cited = annotation
    for key in ("url_citation", "file_citation", "container_file_citation", "file_path"):
        cited = get(annotation, key) or cited
    url, title = get_text(cited, "url") or get_text(cited, "link"), get_text(cited, "title")
    if is_link(url):
        return recording.source_url(url, title)
    container, filename = get_text(cited, "container_id"), get_text(cited, "filename")
    file_id = get_text(cited, "file_id") or get_text(cited, "document_id")
    named = file_id or filename or title
    if not named:
        kind = get_text(annotation, "type") or type(annotation).__name__
        return unread.keep(f"citation {kind}", to_json(annotation)) if annotation else []
    chunks = recording.source_document(
        named,
        media_type=_MEDIA_TYPE,
        title=title or filename or named,
        filename=filename or None,
    )
    if not container:
        return chunks
    # The file is gone with its container, whose id is needed to fetch it.
    state = {"openai": {"fileId": file_id, "containerId": container}}
    return [
        {**chunk, "providerMetadata": state} if chunk["type"] == "source-document" else chunk
        for chunk in chunks
    ]


def sources_beside(recording: Recording, unread: Unread, holder: Any) -> list[Chunk]:
    """Map the sources that a chunk, a choice or a response lists beside its text."""
    return [chunk for source in _listed(holder) for chunk in source_of(recording, unread, source)]


def _listed(holder: Any) -> Iterator[Any]:
    for key in _LISTS:
        for source in get_list(holder, key):
            yield {"url": source} if isinstance(source, str) else source
    for key in _GROUNDINGS:
        given = get(holder, key)
        for grounding in given if isinstance(given, list | tuple) else (given,):
            yield from _grounding(grounding)


def _grounding(grounding: Any) -> Iterator[Any]:
    pieces = get_list(grounding, "grounding_chunks") or get_list(grounding, "groundingChunks")
    for piece in pieces:
        for place in piece.values() if isinstance(piece, Mapping) else ():
            if isinstance(place, Mapping):
                yield {"url": place.get("uri"), "title": place.get("title")}
