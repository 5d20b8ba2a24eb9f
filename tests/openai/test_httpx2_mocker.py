"""respx ignores a target that does not exist: without this test, an httpx2 that renames it would be
asked for real.
"""

from __future__ import annotations

import httpx
import openai
import pytest

from tests.openai.vendor import OPTIONS, Vendor


async def test_the_async_client_is_intercepted(vendor: Vendor) -> None:
    await vendor.create("chat/text")

    assert vendor.route.called


async def test_the_sync_client_is_intercepted(vendor: Vendor) -> None:
    await vendor.create_sync("responses/text")

    assert vendor.route.called


async def test_a_refused_request_raises_what_the_sdk_raises(vendor: Vendor) -> None:
    vendor.route.mock(return_value=httpx.Response(429, json={"error": {"message": "slow down"}}))

    with pytest.raises(openai.RateLimitError):
        await openai.AsyncOpenAI(**OPTIONS).responses.create(model="gpt-5", input="Hi", stream=True)
