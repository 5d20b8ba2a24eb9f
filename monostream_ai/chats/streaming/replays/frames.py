"""SSE frames of the part of a version that was stored when the response began.

Stored chunks are shaped and merged; live chunks that share their batch are encoded as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Final

from monostream_ai.chats.streaming.replays.merging import merge_deltas
from monostream_ai.chats.streaming.replays.settling import SettledSteps, as_answered, type_of
from monostream_ai.chats.streaming.replays.shaping import ReplayShape
from monostream_ai.chats.streaming.replays.starting import Replay
from monostream_ai.types import Batch
from monostream_ai.ui_messages.profiles import Profile, refuses
from monostream_ai.ui_messages.sse import SSEEncoder

PIECE_CHARACTERS: Final = 64 * 1024
"""A long replay is sent in pieces of this size. The event loop runs after each one and notices a
client that has gone away.
"""


class ReplayFrames:
    """Encodes the batches of a replay, in order."""

    def __init__(self, replay: Replay, encoder: SSEEncoder, profile: Profile) -> None:
        self._encoder = encoder
        self._after = replay.after
        self._earlier: Sequence[str] = replay.earlier
        if refuses(profile, "tool-approval-response"):
            self._earlier = as_answered(replay.earlier)
        self._merge_before = replay.merge_before
        goes_on = replay.after.id >= 0
        self._settled: SettledSteps | None = None
        if replay.shaped and refuses(profile, "reset-step"):
            self._settled = SettledSteps(profile, goes_on=goes_on)
        self._shape = ReplayShape(profile, goes_on=goes_on) if replay.shaped else None
        self.end: Final = max(replay.merge_before, 1 if replay.earlier else 0)
        """Batches that begin at this id or later are encoded as they are, without this object."""

    @property
    def version(self) -> int:
        return self._after.version

    def opening(self) -> list[bytes]:
        """Return the frames that come before the first chunk of the replay."""
        if not self._earlier or self._after.id < 0:
            return []
        return [self._encoder.frames_without_id(self._earlier).encode()]

    def of(self, batch: Batch) -> list[bytes]:
        """Encode a batch that begins before `end`, in pieces of about `PIECE_CHARACTERS`."""
        return [piece.encode() for piece in _joined(self._frames(batch))]

    def _frames(self, batch: Batch) -> Iterator[str]:
        # Clients that count chunks count the first one first, whatever it is.
        if self._earlier and batch.first == 0 and self._shape and not _is_start(batch.payloads[0]):
            # An application's own publisher may begin with the result of an earlier call, and a
            # page that has not been told of the call fails at it.
            yield self._encoder.frames_without_id(self._earlier)
            self._earlier = ()
        stored = max(0, self._merge_before - batch.first)
        ids, payloads = self._shaped(
            range(batch.first, batch.first + len(batch.payloads))[:stored], batch.payloads[:stored]
        )
        live = enumerate(batch.payloads[stored:], batch.first + stored)
        for id, payload in chain(merge_deltas(ids, payloads), live):
            frame = payload
            if id == 0 and self._earlier:
                # Only `start` may precede the earlier chunks, since it makes the client begin the
                # message anew. Its id is sent with the last of them: a client that resumes after
                # that id has them all.
                yield self._encoder.frames_without_id([payload, *self._earlier[:-1]])
                frame = self._earlier[-1]
                # A shaped chunk may come in several, all but the last under the id before it.
                self._earlier = ()
            yield self._encoder.frames(Batch(batch.version, id, [frame]))

    def _shaped(
        self, ids: Sequence[int], payloads: Sequence[str]
    ) -> tuple[Sequence[int], Sequence[str]]:
        shape, last = self._shape, bool(ids) and ids[-1] == self._merge_before - 1
        if self._settled is not None and ids:
            ids, payloads = self._settled.feed(ids, payloads, last=last)
        if shape is None or shape.passes(payloads):
            return ids, payloads
        shaped = [
            each
            for id, payload in zip(ids, payloads, strict=True)
            for each in shape.feed(id, payload)
        ]
        if last:
            shaped += shape.flush()
        return [id for id, _ in shaped], [payload for _, payload in shaped]


def _is_start(payload: str) -> bool:
    return '"start"' in payload and type_of(payload) == "start"


def _joined(frames: Iterable[str]) -> Iterator[str]:
    piece, size = list[str](), 0
    for frame in frames:
        piece.append(frame)
        size += len(frame)
        if size >= PIECE_CHARACTERS:
            yield "".join(piece)
            piece, size = [], 0
    if size:
        yield "".join(piece)
