"""respx for httpx2, which `openai` uses from version 3 on.

Define this class only once: subclassing registers its name.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import httpx2
import respx


class Httpx2Mocker(respx.mocks.Mocker):
    """Answers from the transports of httpx2 clients.

    Routes and recorded calls remain objects of httpx.
    """

    name = "httpx2"
    targets = ["httpx2._client.Client", "httpx2._client.AsyncClient"]
    target_methods = ["_transport_for_url"]

    @classmethod
    def mock(cls, spec: Callable[..., Any]) -> Callable[..., Any]:
        def _transport_for_url(self: Any, *args: Any, **kwargs: Any) -> httpx2.MockTransport:
            if not inspect.iscoroutinefunction(self.request):
                return httpx2.MockTransport(
                    lambda request: _response(cls.handler(_request(request, request.read())), _Body)
                )

            async def answer(request: httpx2.Request) -> httpx2.Response:
                return _response(
                    await cls.async_handler(_request(request, await request.aread())), _AsyncBody
                )

            return httpx2.MockTransport(answer)

        return _transport_for_url


def _request(request: httpx2.Request, content: bytes) -> httpx.Request:
    extensions = dict(request.extensions)
    return httpx.Request(
        request.method,
        str(request.url),
        headers=request.headers.raw,
        content=content,
        extensions=extensions,
    )


def _response(response: httpx.Response, body: Callable[[httpx.Response], Any]) -> httpx2.Response:
    headers, extensions = response.headers.raw, response.extensions
    return httpx2.Response(
        response.status_code, headers=headers, stream=body(response), extensions=extensions
    )


class _Body(httpx2.SyncByteStream):
    def __init__(self, response: httpx.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        assert isinstance(self._response.stream, httpx.SyncByteStream)
        yield from self._response.stream

    def close(self) -> None:
        self._response.close()


class _AsyncBody(httpx2.AsyncByteStream):
    def __init__(self, response: httpx.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        assert isinstance(self._response.stream, httpx.AsyncByteStream)
        async for part in self._response.stream:
            yield part

    async def aclose(self) -> None:
        await self._response.aclose()
