"""The real SDK, answered from recordings."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import httpx
import openai
import respx

from tests.openai.recordings import body_of

MODEL: Final = "gpt-5"
URL: Final = "https://api.openai.com/v1"
OPTIONS: Final[dict[str, Any]] = {"api_key": "sk-test", "base_url": URL, "max_retries": 0}

if int(openai.VERSION.split(".")[0]) >= 3:
    from tests.openai.httpx2_mocker import Httpx2Mocker

    USING = Httpx2Mocker.name
else:
    USING = "httpx"


class Vendor:
    """Answers requests with recordings.

    The methods take the name of a recording, like `chat/text`, and return the SDK's own stream.
    """

    def __init__(self, router: respx.Router) -> None:
        self.router = router
        self.route = router.post(url__startswith=URL)

    async def create(self, name: str) -> Any:
        return await self._answer(openai.AsyncOpenAI(**OPTIONS), name)

    async def create_sync(self, name: str) -> Any:
        return await asyncio.to_thread(self._answer, openai.OpenAI(**OPTIONS), name)

    def answer_sync(self, client: openai.OpenAI, name: str) -> Any:
        return self._answer(client, name)

    def manager(self, name: str) -> Any:
        return self._manage(openai.AsyncOpenAI(**OPTIONS), name)

    def manager_sync(self, name: str) -> Any:
        return self._manage(openai.OpenAI(**OPTIONS), name)

    def answer_with(self, body: Any) -> None:
        """Answer the next requests with this response body."""
        self.route.mock(side_effect=lambda request: _response(body))

    def _answer(self, client: Any, name: str) -> Any:
        self._serve(name)
        if name.startswith("chat/"):
            return client.chat.completions.create(model=MODEL, messages=[], stream=True)
        return client.responses.create(model=MODEL, input="Hi", stream=True)

    def _manage(self, client: Any, name: str) -> Any:
        self._serve(name)
        if name.startswith("chat/"):
            return client.chat.completions.stream(model=MODEL, messages=[])
        return client.responses.stream(model=MODEL, input="Hi")

    def _serve(self, name: str) -> None:
        self.answer_with(body_of(name))


def _response(body: Any) -> httpx.Response:
    headers = {"content-type": "text/event-stream"}
    if isinstance(body, bytes):
        return httpx.Response(200, headers=headers, content=body)
    return httpx.Response(200, headers=headers, stream=body)
