"""Server-sent events as the AI SDK reads them, made from stored text: nearly all of it is not
decoded on the way out.

Sources: HTML Standard, 9.2 (framing); vercel/ai, ai@7.0.173,
packages/ai/src/ui-message-stream/ui-message-stream-headers.ts and
create-sse-stream-with-keep-alive.ts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, Protocol

from monostream_ai.json_text import decode_json
from monostream_ai.ui_messages.profiles import Profile, ProfileFilter

STREAM_OPEN: Final = ": stream-open\n\n"
"""Sent at once: it flushes the headers through proxies."""

KEEP_ALIVE: Final = ": keep-alive\n\n"
"""Sent after each `KEEP_ALIVE_INTERVAL` without a frame."""

KEEP_ALIVE_INTERVAL: Final = 15.0
"""Seconds. Source: HTML Standard, 9.2.7 ("every 15 seconds or so")."""

DONE: Final = "data: [DONE]\n\n"

HEADERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "content-type": "text/event-stream",
        # no-transform is ours: a proxy that compresses would hold frames back.
        "cache-control": "no-cache, no-transform",
        "connection": "keep-alive",
        "x-vercel-ai-ui-message-stream": "v1",
        "x-accel-buffering": "no",
    }
)
"""Headers of a streaming response. `connection` has no place in HTTP/2."""

_FINISH: Final = 'data: {"type":"finish"}\n\n'


class Batch(Protocol):
    """Consecutive payloads of one version, as `subscription.next_batch` gives them; `first` is the
    id of the first one.
    """

    @property
    def version(self) -> int: ...
    @property
    def first(self) -> int: ...
    @property
    def payloads(self) -> Sequence[str]: ...


class SSEEncoder:
    """Turns payloads into frames for one response.

    Args:
        profile: The release of `ai` that the client has.

    Raises:
        InvalidArgument: There is no such profile.
    """

    def __init__(self, profile: Profile = "v7") -> None:
        self._filter = ProfileFilter(profile)
        self.shareable = self._filter.stateless
        """Whether frames depend on nothing but the profile and the batch, so that many responses
        may use the same.
        """

    def frames(self, batch: Batch) -> str:
        """Return one event for each payload; its SSE id is the cursor of the payload, which
        `Cursor.parse` reads.
        """
        # The text of a cursor without its id: making thousands of cursors takes longer than all the
        # rest.
        head = f"id: {batch.version}."
        return "".join(
            [
                f"{head}{id}\ndata: {payload}\n\n"
                for id, payload in enumerate(self._sent(batch.payloads), batch.first)
            ]
        )

    def frames_without_id(self, payloads: Iterable[str]) -> str:
        """Return one event for each payload that is no part of a version."""
        return "".join([f"data: {payload}\n\n" for payload in self._sent([*payloads])])

    def end(self, last_payload: str | None) -> str:
        """Return what follows the last chunk of a closed version.

        After an `error` or `abort` that is a `finish` without an id, since it is not stored:
        clients that count chunks would ask for more without it. A response whose version is not
        closed must be broken off instead: a clean end looks like success.

        Args:
            last_payload: The last one that the version has, or None if it has none.
        """
        last = None if last_payload is None else decode_json(last_payload)
        finished = isinstance(last, dict) and last.get("type") == "finish"
        return DONE if finished else _FINISH + DONE

    def _sent(self, payloads: Sequence[str]) -> Sequence[str]:
        sent = self._filter.apply_all(payloads)
        text = "".join(sent)
        # Text of ours has one line. What another program wrote to a json column keeps its line
        # breaks.
        return [*map(_one_line, sent)] if "\n" in text or "\r" in text else sent


def _one_line(payload: str) -> str:
    # JSON has them raw between tokens only, where they mean no more than a space.
    return payload.replace("\r", " ").replace("\n", " ")
