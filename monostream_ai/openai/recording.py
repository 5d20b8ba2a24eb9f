"""The message that one or more responses of a model make."""

from __future__ import annotations

from collections import Counter
from typing import Any

from monostream_ai.openai.fields import get, get_text
from monostream_ai.ui_messages import Chunk, UIMessageBuilder
from monostream_ai.ui_messages.browser_safety import is_link
from monostream_ai.ui_messages.call_ids import CallIds


class Recording:
    """What the captures of one publisher share: ids are unique in a message, and usage is that of
    all its responses.
    """

    def __init__(self, builder: UIMessageBuilder) -> None:
        self.builder = builder
        self.usages: list[dict[str, int]] = []
        """Tokens of each response so far."""
        self.refused_calls: set[str] = set()
        """Published ids of calls whose arguments are no JSON: that is their result."""
        self.calls = CallIds(builder)
        self._calls_made = 0
        self._parts = 0
        self._sources: set[str] = set()
        self._told: dict[str, Any] = {}

    def new_part_id(self, kind: str) -> str:
        self._parts += 1
        return f"{kind}-{self._parts}"

    def publish_call(self, call_id: str) -> str:
        """Return the id under which the message shows a new call: some models use an id twice, or
        give none.
        """
        self._calls_made += 1
        return self.calls.publish(call_id or f"call-{self._calls_made}")

    def source(self, annotation: Any) -> list[Chunk]:
        """Map a citation, once for each source; one of a page that is no link is left out."""
        cited = get(annotation, "url_citation") or annotation
        url, file_id, title = (
            get_text(cited, "url"),
            get_text(cited, "file_id"),
            get_text(cited, "title"),
        )
        url = url if is_link(url) else ""
        if not (url or file_id) or (url or file_id) in self._sources:
            return []
        self._sources.add(url or file_id)
        if url:
            return self.builder.source_url(url, url, title=title or None)
        filename = get_text(cited, "filename")
        return self.builder.source_document(
            file_id,
            media_type="text/plain",
            title=title or filename or file_id,
            filename=filename or None,
        )

    def tell(self, metadata: dict[str, Any]) -> list[Chunk]:
        """Send what is new of the metadata, with the usage so far."""
        total: Counter[str] = Counter()
        for usage in self.usages:
            total.update(usage)
        now = {**metadata, **({"usage": dict(total)} if total else {})}
        news = {key: value for key, value in now.items() if self._told.get(key) != value}
        self._told |= news
        return self.builder.metadata(news) if news else []
