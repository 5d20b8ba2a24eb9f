"""Citations of both APIs, as sources of the message."""

from __future__ import annotations

from typing import Any

from monostream_ai.recording.fields import get, get_text
from monostream_ai.recording.message import Recording
from monostream_ai.ui_messages import Chunk
from monostream_ai.ui_messages.browser_safety import is_link


def source_of(recording: Recording, annotation: Any) -> list[Chunk]:
    """Map a citation of a page or a file, unless its source was shown before."""
    cited = get(annotation, "url_citation") or annotation
    title = get_text(cited, "title")
    if is_link(url := get_text(cited, "url")):
        return recording.source_url(url, title)
    file_id, filename = get_text(cited, "file_id"), get_text(cited, "filename")
    return recording.source_document(
        file_id,
        media_type="text/plain",
        title=title or filename or file_id,
        filename=filename or None,
    )
