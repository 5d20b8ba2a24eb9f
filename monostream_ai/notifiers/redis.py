"""Wake-ups through Redis publish/subscribe, on one channel.

The store holds all data, so Redis may lose any message.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Self

from monostream_ai._extras import needs

with needs("redis", "redis", by=__name__):
    from redis.asyncio import Redis
    from redis.asyncio.client import PubSub
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

from monostream_ai.errors import InvalidURL, ServiceClosed
from monostream_ai.interfaces import Listener
from monostream_ai.notifiers.packing import Entry, entries_of, wake_ups_of
from monostream_ai.notifiers.serving import (
    PROBE_INTERVAL,
    PROBE_TIMEOUT,
    SELF_TEST_TIMEOUT,
    Deaf,
    SubscribingNotifier,
    end_if_cancelled,
)
from monostream_ai.types import WakeUp

logger = logging.getLogger(__name__)

CHANNEL: Final = "monostream"

PER_MESSAGE: Final = 256
"""Wake-ups in one message, which keeps it below 1 MiB."""

MOST_CARRIED: Final = 64 * 1024
"""Bytes that a wake-up may carry, and characters of one message until it ends."""


class RedisNotifier(SubscribingNotifier):
    """Subscribes on one connection of the client's pool and publishes through the others.

    Args:
        client: Borrowed: `aclose` leaves it open.
        channel: Processes hear each other on the same channel of the same server, whatever its
            database number.
    """

    def __init__(self, client: Redis, *, channel: str = CHANNEL) -> None:
        super().__init__(channel)
        self._client = client
        self._closed = False

    @classmethod
    def from_url(cls, url: str, *, channel: str = CHANNEL) -> Self:
        """Return a notifier with a client of its own, closed by `aclose`.

        Args:
            url: `redis://…`, `rediss://…` or `unix://…`.

        Raises:
            InvalidURL: The URL cannot be parsed.
        """
        try:
            client = Redis.from_url(
                url,
                socket_connect_timeout=PROBE_TIMEOUT,
                socket_timeout=PROBE_TIMEOUT,
                # A subscription that reconnects by itself would not report the gap.
                retry=Retry(NoBackoff(), 0),
            )
        except ValueError as error:
            raise InvalidURL("the URL of Redis cannot be read") from error
        notifier = cls(client, channel=channel)
        notifier._owned = True
        return notifier

    @property
    def most_carried(self) -> int:
        return MOST_CARRIED

    def _address(self) -> str:
        # Picked one by one: the settings hold the password too. A client of Sentinel has no host.
        settings = self._client.connection_pool.connection_kwargs
        return str(settings.get("path") or f"{settings.get('host')}:{settings.get('port')}")

    async def notify(self, wake_ups: Sequence[WakeUp]) -> None:
        if self._closed:
            raise ServiceClosed
        if not wake_ups:
            return
        async with self._client.pipeline(transaction=False) as pipeline:
            for message in _messages(wake_ups):
                pipeline.publish(self._channel, json.dumps(message, ensure_ascii=False))
            sent = await pipeline.execute()
        logger.debug("sent %d wake-ups in %d messages", len(wake_ups), len(sent))

    async def aclose(self) -> None:
        self._closed = True
        await super().aclose()
        if self._owned:
            await self._client.aclose()

    @asynccontextmanager
    async def _subscribed(self, listener: Listener) -> AsyncIterator[PubSub]:
        subscription = self._client.pubsub()
        try:
            await subscription.subscribe(self._channel)
            # The confirmation: a message sent before it may be lost.
            if await subscription.get_message(timeout=PROBE_TIMEOUT) is None:
                raise TimeoutError("no answer to SUBSCRIBE")
            await self._self_test(subscription, listener)
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
                "messages do not arrive, so readers poll: "
                "do the connections of the client lead to different servers?"
            )
            raise Deaf from error

    async def _watch(self, subscription: PubSub, listener: Listener) -> None:
        while True:
            end_if_cancelled()
            message = await subscription.get_message(timeout=PROBE_INTERVAL)
            if message is None:
                await subscription.ping()
                message = await subscription.get_message(timeout=PROBE_TIMEOUT)
                if message is None:
                    raise TimeoutError("no answer to PING")
            if message["type"] == "subscribe":
                # A borrowed client reconnected by itself, and may have missed messages.
                listener.on_resync()
            self._take(message, listener)

    def _take(self, message: dict[str, Any] | None, listener: Listener) -> str | None:
        """Deliver the wake-ups of a message; return the nonce of a self-test."""
        if message is None or message["type"] != "message":
            return None
        try:
            data = json.loads(message["data"])
            if isinstance(data, str):
                return data
            wake_ups = wake_ups_of((str(text), int(version), int(id)) for text, version, id in data)
        except (ValueError, TypeError, RecursionError):
            self.malformed += 1
            return None
        for wake_up in wake_ups:
            listener.on_wake_up(wake_up)
        return None


def _messages(wake_ups: Iterable[WakeUp]) -> Iterator[list[Entry]]:
    """Divide wake-ups among messages of a bounded size."""
    message: list[Entry] = []
    size = 0
    for wake_up in wake_ups:
        if len(message) >= PER_MESSAGE or size + len(wake_up.carried) > MOST_CARRIED:
            yield message
            message, size = [], 0
        message += entries_of(wake_up)
        size += len(wake_up.carried)
    yield message
