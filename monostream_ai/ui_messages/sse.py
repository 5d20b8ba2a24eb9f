"""Server-sent events as the AI SDK reads them, made from stored JSON, most of it undecoded.

Sources: HTML Standard, 9.2 (framing); vercel/ai, ai@7.0.173,
packages/ai/src/ui-message-stream/ui-message-stream-headers.ts and
create-sse-stream-with-keep-alive.ts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, Protocol

from monostream_ai.json_text import decode_json
from monostream_ai.types import check_texts
from monostream_ai.ui_messages.profiles import Profile, ProfileFilter

STREAM_OPEN: Final = ": stream-open\n\n"
"""Sent at once, so that proxies pass the headers on."""

KEEP_ALIVE: Final = ": keep-alive\n\n"
"""Sent after each `KEEP_ALIVE_INTERVAL` without a frame."""

KEEP_ALIVE_INTERVAL: Final = 15.0
"""In seconds. Source: HTML Standard, 9.2.7 ("every 15 seconds or so")."""

DONE: Final = "data: [DONE]\n\n"
"""The last frame of a whole stream, which clients of the AI SDK wait for."""

HEADERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "content-type": "text/event-stream",
        # The AI SDK sends no `no-transform`. Without it a proxy may compress, and hold frames back.
        "cache-control": "no-cache, no-transform",
        "connection": "keep-alive",
        "x-vercel-ai-ui-message-stream": "v1",
        "x-accel-buffering": "no",
    }
)
"""Headers of a streaming response. HTTP/2 forbids `connection`."""

# Our encoder writes one line. Another program may have stored JSON with line breaks between its
# tokens, where they mean the same as a space; each of them would end the SSE field. The other three
# end no field, but clients that split text with `str.splitlines`, as httpx does, see a line end in
# them. JSON has them inside of strings only, where an escape means the same.
_ONE_LINE: Final = str.maketrans(
    {"\n": " ", "\r": " ", "\x85": "\\u0085", "\u2028": "\\u2028", "\u2029": "\\u2029"}
)
_OTHER_BREAK: Final = re.compile("[\x85\u2028\u2029]")

_FINISH: Final = 'data: {"type":"finish"}\n\n'


class Batch(Protocol):
    """Consecutive payloads of one version, such as `subscription.next_batch` returns."""

    @property
    def version(self) -> int: ...
    @property
    def first(self) -> int:
        """The id of the first payload."""

    @property
    def payloads(self) -> Sequence[str]: ...


class SSEEncoder:
    """Turns payloads into SSE frames for one response.

    Args:
        profile: The release of `ai` that the client has, if it is known.

    Raises:
        InvalidArgument: The profile is unknown.
    """

    def __init__(self, profile: Profile = "any") -> None:
        self._filter = ProfileFilter(profile)
        self.shareable = self._filter.stateless
        """Whether responses can share frames, since they depend on profile and batch only."""

    def __repr__(self) -> str:
        return f"<SSEEncoder {self._filter.profile!r}>"

    def frames(self, batch: Batch) -> str:
        """Return one event for each payload, whose SSE id is a cursor that `Cursor.parse` reads."""
        # Written by hand: creating thousands of `Cursor` objects takes longer than everything else.
        head, sent = f"id: {batch.version}.", one_line(self._filter.apply_all(batch.payloads))
        return "".join(
            [f"{head}{id}\ndata: {payload}\n\n" for id, payload in enumerate(sent, batch.first)]
        )

    def frames_without_id(self, payloads: Iterable[str]) -> str:
        """Return one event for each payload, for payloads that are not part of a version.

        Raises:
            TypeError: This is one payload, or one of them is a chunk and not its JSON text.
        """
        texts = payloads if isinstance(payloads, str) else [*payloads]
        check_texts("payloads", texts)
        sent = one_line(self._filter.apply_all([*texts]))
        return "".join([f"data: {payload}\n\n" for payload in sent])

    def end(self, last_payload: str | None) -> str:
        """Return the frames that follow the last chunk of a closed version.

        After an `error` or `abort` this adds a `finish`, because clients that count chunks would
        otherwise ask for more. It has no id, since it is not stored. Never call this for a version
        that is not closed: break the response off instead, because a clean end looks like success.

        Args:
            last_payload: The last payload of the version, or None if it has none.
        """
        last = None if last_payload is None else decode_json(last_payload)
        finished = isinstance(last, dict) and last.get("type") == "finish"
        return DONE if finished else _FINISH + DONE


def one_line(texts: Sequence[str]) -> Sequence[str]:
    """Return JSON texts that say the same without a line break, for an SSE `data` field."""
    text = "".join(texts)
    if "\n" in text or "\r" in text or (not text.isascii() and _OTHER_BREAK.search(text)):
        return [each.translate(_ONE_LINE) for each in texts]
    return texts
