"""Why a lease may not write any more: one rule for all stores."""

from __future__ import annotations

from monostream_ai.errors import Fenced, MonostreamError, StreamClosed, StreamDeleted, StreamStopped
from monostream_ai.types import Lease


def refusal(
    lease: Lease, *, token: str | None, state: str | None, stopped: bool, latest: int | None
) -> MonostreamError | None:
    """Return why the lease is lost, or None if it is held.

    Args:
        token: Who holds the version now.
        state: None if the version does not exist.
        stopped: Whether a stop was asked.
        latest: The newest version of the stream.
    """
    if state is None or state == "pruned" or latest is None:
        return StreamDeleted(lease.stream_id)
    if stopped and token != lease.token:
        return StreamStopped(lease.stream_id, lease.version)
    if state != "open":
        return StreamClosed(lease.stream_id, lease.version)
    if token != lease.token or latest > lease.version:
        return Fenced(lease.stream_id, lease.version, latest)
    return None
