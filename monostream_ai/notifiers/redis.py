"""Wake-ups through Redis publish/subscribe: one channel, and never data.

The store stays the truth, so Redis may lose everything.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Self

try:
    from redis.asyncio import Redis
    from redis.asyncio.client import PubSub
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
except ImportError as error:
    raise ImportError(
        "monostream_ai.notifiers.redis needs redis-py: pip install 'monostream-ai[redis]'"
    ) from error

from monostream_ai._backoff import Backoff
from monostream_ai.errors import InvalidURL, ServiceClosed
from monostream_ai.interfaces import BackgroundErrors, Listener
from monostream_ai.notifiers.serving import ServingNotifier
from monostream_ai.types import WakeUp

logger = logging.getLogger(__name__)

CHANNEL: Final = "monostream"
PER_MESSAGE: Final = 256
"""Wake-ups in one message, so that none is over 1 MiB."""
PROBE_INTERVAL: Final = 15.0
"""Seconds without a message after which the server is asked whether it is still there."""
PROBE_TIMEOUT: Final = 5.0
SELF_TEST_TIMEOUT: Final = 2.0
FIRST_RETRY: Final = 0.1
LAST_RETRY: Final = 5.0
DEAF_RETRY: Final = 60.0
"""Seconds before another self-test where messages do not arrive, as on a replica."""


class RedisNotifier(ServingNotifier):
    """Subscribes on one connection of the client's pool and publishes through the others.

    Args:
        client: Borrowed: `aclose` leaves it open.
        channel: Processes hear each other on the same channel of the same server, whatever its
            database number.
    """

    def __init__(self, client: Redis, *, channel: str = CHANNEL) -> None:
        super().__init__()
        self._client = client
        self._channel = channel
        self._owned = False
        self._closed = False
        self.malformed = 0
        """Messages on the channel that were not ours."""

    @classmethod
    def from_url(cls, url: str, *, channel: str = CHANNEL) -> Self:
        """Return a notifier with a client of its own, closed by `aclose`, for `redis://`,
        `rediss://` or `unix://`.

        Raises:
            InvalidURL: It cannot be read.
        """
        try:
            client = Redis.from_url(
                url,
                socket_connect_timeout=PROBE_TIMEOUT,
                socket_timeout=PROBE_TIMEOUT,
                # A subscription that reconnects by itself would not say that it missed something.
                retry=Retry(NoBackoff(), 0),
            )
        except ValueError as error:
            raise InvalidURL("the URL of Redis cannot be read") from error
        notifier = cls(client, channel=channel)
        notifier._owned = True
        return notifier

    async def notify(self, wake_ups: Sequence[WakeUp]) -> None:
        if self._closed:
            raise ServiceClosed
        if not wake_ups:
            return
        async with self._client.pipeline(transaction=False) as pipeline:
            for start in range(0, len(wake_ups), PER_MESSAGE):
                pipeline.publish(
                    self._channel,
                    json.dumps(wake_ups[start : start + PER_MESSAGE], ensure_ascii=False),
                )
            await pipeline.execute()

    async def aclose(self) -> None:
        self._closed = True
        await super().aclose()
        if self._owned:
            await self._client.aclose()

    async def _serve(self, listener: Listener, on_error: BackgroundErrors) -> None:
        backoff = Backoff(FIRST_RETRY, LAST_RETRY)
        while True:
            deaf = False
            try:
                async with self._subscribed() as subscription:
                    await self._self_test(subscription, listener)
                    _end_if_cancelled()
                    self._healthy = True
                    listener.on_resync()
                    backoff.reset()
                    await self._watch(subscription, listener)
            except _Deaf:
                deaf = True
            # DNS, logins, refusals: nothing may end this loop but its cancellation.
            except Exception as error:
                on_error("listen", error)
            self._set_healthy(False, listener)
            _end_if_cancelled()
            await asyncio.sleep(DEAF_RETRY if deaf else backoff.next())

    @asynccontextmanager
    async def _subscribed(self) -> AsyncIterator[PubSub]:
        subscription = self._client.pubsub()
        try:
            await subscription.subscribe(self._channel)
            # The confirmation, before which a message of others may be lost.
            if await subscription.get_message(timeout=PROBE_TIMEOUT) is None:
                raise TimeoutError("no answer to SUBSCRIBE")
            yield subscription
        finally:
            await subscription.aclose()  # type: ignore[no-untyped-call]  # redis-py has no type here

    async def _self_test(self, subscription: PubSub, listener: Listener) -> None:
        nonce = secrets.token_hex(8)
        await self._client.publish(self._channel, json.dumps(nonce))
        try:
            async with asyncio.timeout(SELF_TEST_TIMEOUT):
                while (
                    self._take(await subscription.get_message(timeout=SELF_TEST_TIMEOUT), listener)
                    != nonce
                ):
                    pass
        except TimeoutError as error:
            logger.warning(
                "messages do not arrive, so readers poll: is the Redis server that takes them another one?"
            )
            raise _Deaf from error

    async def _watch(self, subscription: PubSub, listener: Listener) -> None:
        while True:
            _end_if_cancelled()
            message = await subscription.get_message(timeout=PROBE_INTERVAL)
            if message is None:
                await subscription.ping()
                message = await subscription.get_message(timeout=PROBE_TIMEOUT)
                if message is None:
                    raise TimeoutError("no answer to PING")
            if message["type"] == "subscribe":
                # A borrowed client has reconnected by itself.
                listener.on_resync()
            self._take(message, listener)

    def _take(self, message: dict[str, Any] | None, listener: Listener) -> str | None:
        """Deliver a message; return it if it is a self-test."""
        if message is None or message["type"] != "message":
            return None
        try:
            data = json.loads(message["data"])
            if isinstance(data, str):
                return data
            wake_ups = [
                WakeUp(str(stream_id), int(version), int(id)) for stream_id, version, id in data
            ]
        except (ValueError, TypeError, RecursionError):
            self.malformed += 1
            return None
        for wake_up in wake_ups:
            listener.on_wake_up(wake_up)
        return None


def _end_if_cancelled() -> None:
    # redis-py swallows a cancellation that comes while it connects.
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


class _Deaf(Exception):
    """SUBSCRIBE was confirmed and nothing arrives."""
