"""Citations as sources of the message."""

from __future__ import annotations

from typing import Any, Final

from monostream_ai.recording.fields import get, get_text
from monostream_ai.recording.message import Recording
from monostream_ai.ui_messages import Chunk
from monostream_ai.ui_messages.browser_safety import is_link

_PDF: Final = "page_location"
"""Citation of a page. Only PDF documents are cited by page."""


def source_of(recording: Recording, citation: Any) -> list[Chunk]:
    """Map a citation of a page, a search result or a document, unless it was shown before."""
    url = get_text(citation, "url") or get_text(citation, "source")
    title = get_text(citation, "title") or get_text(citation, "document_title")
    if is_link(url):
        return recording.source_url(url, title)
    document = get(citation, "document_index")
    number = "" if document is None else f"document-{document}"
    name = url or get_text(citation, "file_id") or number
    is_pdf = get_text(citation, "type") == _PDF
    return recording.source_document(
        name,
        media_type="application/pdf" if is_pdf else "text/plain",
        title=title or url or (f"Document {document + 1}" if isinstance(document, int) else name),
    )
