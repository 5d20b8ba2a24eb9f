"""The API of a model, inside the HTTP client of its SDK: a script answers each request."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Protocol, TypeAlias

from monostream_ai.testing.script import Script, ScriptedAnswer, Thought, ToolCall

Json: TypeAlias = dict[str, Any]
Pieces: TypeAlias = AsyncIterator[str | Thought | ToolCall]


class ApiAnswer(Protocol):
    """An answer in the shape of one API."""

    def events(self, pieces: Pieces) -> AsyncIterator[Json]:
        """Yield the server-sent events of a stream."""

    def whole(self, events: list[Json]) -> Json:
        """Return the body of an answer that is not streamed."""


NewAnswer: TypeAlias = Callable[[str, Json, str], ApiAnswer | None]
"""Called with the path and the body of a request, and an id; returns None for another route."""


class ScriptedApi:
    """Answers the requests of one client of an SDK.

    Args:
        http_client: The SDK's own class of HTTP clients. SDKs use httpx or httpx2, and each takes
            only its own.
        end: The frame behind the last event.
    """

    def __init__(
        self,
        answers: Sequence[ScriptedAnswer],
        new_answer: NewAnswer,
        http_client: type[Any],
        *,
        end: bytes = b"",
    ) -> None:
        self.asked: list[Json] = []
        self._script = Script(answers)
        self._new_answer = new_answer
        self._end = end
        self._http: Any = sys.modules[http_client.__mro__[1].__module__.partition(".")[0]]
        self._http_client = http_client

    def client_options(self, base_url: str, given: Json) -> Json:
        """Return the arguments of the client: those that the application gives, and its own."""
        own: Json = {"api_key": "scripted", "base_url": base_url, "max_retries": 0}
        if "http_client" not in given:
            transport = self._http.MockTransport(self._answer)
            own["http_client"] = self._http_client(transport=transport)
        return own | given

    async def _answer(self, request: Any) -> Any:
        body, number = json.loads(request.content or b"{}"), len(self.asked) + 1
        answer = self._new_answer(request.url.path, body, str(number))
        if answer is None:
            said = f"a scripted model does not answer {request.method} {request.url.path}"
            return self._http.Response(404, json={"error": {"message": said}})
        self.asked.append(body)
        events = answer.events(self._script.next())
        if body.get("stream"):
            kind = {"content-type": "text/event-stream"}
            return self._http.Response(200, headers=kind, content=self._frames(events))
        return self._http.Response(200, json=answer.whole([event async for event in events]))

    async def _frames(self, events: AsyncIterator[Json]) -> AsyncIterator[bytes]:
        async for event in events:
            name = f"event: {event['type']}\n" if "type" in event else ""
            yield f"{name}data: {json.dumps(event)}\n\n".encode()
        yield self._end
