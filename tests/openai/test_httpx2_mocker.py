"""The SDK's requests never reach the network in these tests.

respx ignores a target that does not exist. If httpx2 renamed it, requests would be real ones.
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


async def test_a_refused_request_raises_the_error_of_the_sdk(vendor: Vendor) -> None:
    vendor.route.mock(return_value=httpx.Response(429, json={"error": {"message": "slow down"}}))

    with pytest.raises(openai.RateLimitError):
        await openai.AsyncOpenAI(**OPTIONS).responses.create(model="gpt-5", input="Hi", stream=True)
