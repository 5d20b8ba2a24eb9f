"""Sources that a model cites and files that it makes, each shown once in a message.

Citations and file blocks become `source-url`, `source-document` and `file` chunks.
"""

from __future__ import annotations

import logging
import mimetypes
from collections.abc import Mapping
from typing import Any, Final

from monostream_ai.ui_messages import Chunk, UIMessageBuilder
from monostream_ai.ui_messages.browser_safety import is_link

logger = logging.getLogger(__name__)

FILE_KINDS: Final[Mapping[str, str]] = {
    "image": "image/png",
    "audio": "audio/wav",
    "video": "video/mp4",
    "file": "application/octet-stream",
}
"""The types of content blocks that are files, and the media type to assume for each."""

DOCUMENT_TITLE: Final = "Source"
MAX_TITLE: Final = 200
"""Characters of the cited text that serve as the title of a document without one."""


class SourcesAndFiles:
    """The sources and files of one message, without repetitions.

    Providers repeat a citation with each sentence, and once more in the final message.
    """

    def __init__(self, builder: UIMessageBuilder) -> None:
        self._builder = builder
        self._seen: set[object] = set()
        self._in_step: set[object] = set()

    def begin_step(self) -> None:
        self._in_step.clear()

    def forget_step(self) -> None:
        """Allow the sources and files of the open step again, since the step is taken back."""
        self._seen -= self._in_step

    def sources(self, block: Mapping[str, Any]) -> list[Chunk]:
        """Map the citations of a text block."""
        annotations = block.get("annotations")
        if not isinstance(annotations, list):
            return []
        cited = [one for one in annotations if isinstance(one, Mapping)]
        return [chunk for one in cited for chunk in self._source(one)]

    def file(self, block: Mapping[str, Any]) -> list[Chunk]:
        """Map a file, image, audio or video block; left out if only the provider can open it."""
        media_type = _media_type(block)
        data, url = block.get("base64"), block.get("url")
        if isinstance(data, str) and data:
            url = f"data:{media_type};base64,{data}"
        if not isinstance(url, str) or not (url.startswith("data:") or is_link(url)):
            logger.debug("leaving out a %s block that no browser can open", block.get("type"))
            return []
        # A hash instead of the URL, which may hold megabytes.
        if not self._is_new(("file", hash(url), len(url))):
            return []
        return self._builder.file(url, media_type=media_type)

    def _source(self, citation: Mapping[str, Any]) -> list[Chunk]:
        url, title = citation.get("url"), citation.get("title")
        title = title if isinstance(title, str) and title else None
        if isinstance(url, str) and is_link(url):
            new = self._is_new(("url", url))
            return self._builder.source_url(url, url, title=title) if new else []
        text = citation.get("cited_text")
        name = title or (text[:MAX_TITLE] if isinstance(text, str) and text else None)
        source_id = citation.get("id") if isinstance(citation.get("id"), str) else name
        if not isinstance(source_id, str):
            logger.debug("leaving out a citation that has no link, title, text or id")
            return []
        if not self._is_new(("document", source_id, title)):
            return []
        return self._builder.source_document(
            source_id, media_type="text/plain", title=name or DOCUMENT_TITLE
        )

    def _is_new(self, key: object) -> bool:
        new = key not in self._seen
        if new:
            self._seen.add(key)
            self._in_step.add(key)
        return new


def _media_type(block: Mapping[str, Any]) -> str:
    given = block.get("mime_type")
    if isinstance(given, str) and given:
        return given
    url = block.get("url")
    guessed = mimetypes.guess_type(url)[0] if isinstance(url, str) else None
    return guessed or FILE_KINDS[str(block.get("type"))]
