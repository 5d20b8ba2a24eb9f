"""A server on the loopback interface with the background mode of the Responses API."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.openai.streaming import Event, event

Script = Callable[[Event], list[Event]]
"""Returns the events of a response for the body of its request."""


class BackgroundServer:
    """Makes a response of each `create`, and streams it as often as it is retrieved.

    Attributes set by a test change how it answers; `creates`, `retrieved` and `cancelled` say how
    it was asked.
    """

    def __init__(self, script: Script) -> None:
        self._script = script
        self._events: dict[str, list[Event]] = {}
        self.url = ""
        self.cuts: Iterator[int] = iter(())
        """Events after which the next connections break."""
        self.breaks_off = True
        """Whether a cut resets the connection, in place of an early end of the stream."""
        self.ignores_starting_after = False
        self.numbers = True
        self.status: dict[str, int] = {}
        """Status of the refusals of `create`, `stream`, `poll` and `cancel`."""
        self.polls = 0
        """Polls that find the response in progress."""
        self.creates = 0
        self.retrieved: list[dict[str, list[str]]] = []
        self.cancelled: list[str] = []
        self.served = 0
        self.admits = asyncio.Event()
        self.admits.set()
        """Cleared while a created response waits with its first event."""
        self._more = asyncio.Event()
        self._waiting = ""
        self._paused_at = 0
        self._resumed = asyncio.Event()

    def forget(self) -> None:
        """Begin anew, with the first response."""
        self.creates = self.served = 0
        self._events.clear()
        self.retrieved.clear()
        self.cancelled.clear()

    async def created(self) -> None:
        """Return once a response was asked for."""
        while not self.creates:
            self._more.clear()
            await self._more.wait()

    async def pause_behind(self, count: int) -> str:
        """Send so many events, in all streams together, and no more; return the id of the response
        that waits then.
        """
        self._paused_at = self.served + count
        self._resumed.clear()
        self._waiting = ""
        while not self._waiting:
            self._more.clear()
            await self._more.wait()
        return self._waiting

    def resume(self) -> None:
        self._paused_at = 0
        self._resumed.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[BackgroundServer]:
        async with await asyncio.start_server(self._serve, "127.0.0.1", 0) as server:
            self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            method, target = head.split(" ", 2)[:2]
            length = next(
                (
                    int(line[15:])
                    for line in head.split("\r\n")
                    if line.startswith("content-length")
                ),
                0,
            )
            body = json.loads(await reader.readexactly(length) or b"{}")
            await self._answer(writer, method, urlsplit(target), body)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answer(self, writer: Any, method: str, target: Any, body: Event) -> None:
        path, query = target.path.removeprefix("/v1/responses").strip("/"), parse_qs(target.query)
        if path.endswith("/cancel"):
            self.cancelled.append(path.removesuffix("/cancel"))
            await self._send(writer, {"id": self.cancelled[-1], "status": "cancelled"}, "cancel")
        elif method == "post":
            self.creates += 1
            self._more.set()
            await self.admits.wait()
            made = self._script(body)
            response_id = f"resp_{self.creates}"
            self._events[response_id] = numbered(made, response_id)
            await self._stream(writer, response_id, -1, "create")
        else:
            self.retrieved.append(query)
            if query.get("stream") != ["true"]:
                await self._send(writer, self._polled(path), "poll")
                return
            after = (
                -1 if self.ignores_starting_after else int(query.get("starting_after", ["-1"])[0])
            )
            await self._stream(writer, path, after, "stream")

    def _polled(self, response_id: str) -> Event:
        self.polls -= 1
        if self.polls >= 0:
            return {"id": response_id, "status": "in_progress", "output": []}
        last: Event = self._events[response_id][-1]["response"]
        return last

    async def _send(self, writer: Any, value: Event, call: str) -> None:
        status = self.status.get(call, 200)
        text = json.dumps(value if status == 200 else {"error": {"message": "refused"}})
        head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nconnection: close\r\n"
        writer.write(f"{head}content-length: {len(text)}\r\n\r\n{text}".encode())
        await writer.drain()

    async def _stream(self, writer: Any, response_id: str, after: int, call: str) -> None:
        if self.status.get(call, 200) != 200 or response_id not in self._events:
            self.status.setdefault(call, 404)
            await self._send(writer, {}, call)
            return
        head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n"
        writer.write(f"{head}transfer-encoding: chunked\r\n\r\n".encode())
        cut = next(self.cuts, None)
        for number, each in enumerate(self._events[response_id][after + 1 :]):
            if number == cut:
                break
            # A response whose id nobody was told cannot be found again.
            while self.served >= self._paused_at > 0 and (number or call != "create"):
                self._waiting = response_id
                self._more.set()
                await self._resumed.wait()
            if not self.numbers:
                each = {key: each[key] for key in each if key != "sequence_number"}
            data = f"event: {each['type']}\ndata: {json.dumps(each)}\n\n".encode()
            writer.write(b"%x\r\n%s\r\n" % (len(data), data))
            await writer.drain()
            self.served += 1
            self._more.set()
            await asyncio.sleep(0)
        else:
            cut = None
        if cut is not None and self.breaks_off:
            # The events arrive before the reset does.
            await asyncio.sleep(0.002)
            writer.transport.abort()
            return
        writer.write(b"0\r\n\r\n")
        await writer.drain()


def numbered(events: Sequence[Event], response_id: str) -> list[Event]:
    """Return the events as those of a background response with this id."""
    made = []
    for number, each in enumerate(events):
        made.append({**each, "sequence_number": number})
        if "response" in each:
            made[-1]["response"] = {**each["response"], "id": response_id, "background": True}
    return made


def long_answer(words: int = 12) -> list[Event]:
    """Return a response that thinks, searches, speaks and calls."""
    thoughts, text = ["Let me ", "think … "], [f"wörd{number} 🌍 " for number in range(words)]
    arguments = json.dumps({"city": "Köln", "days": list(range(5))})
    items = [
        {
            "id": "rs_1",
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": "".join(thoughts)}] * 2,
        },
        {
            "id": "ws_1",
            "type": "web_search_call",
            "status": "completed",
            "action": {"type": "search", "query": "weather"},
        },
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "content": [
                {
                    "type": "output_text",
                    "text": "".join(text),
                    "annotations": [
                        {"type": "url_citation", "url": "https://a.test/", "title": "A"}
                    ],
                }
            ],
        },
        {
            "id": "fc_1",
            "type": "function_call",
            "call_id": "call_1",
            "name": "weather",
            "arguments": arguments,
        },
    ]
    deltas = {
        0: [("reasoning_summary_text", {"summary_index": part}, thoughts) for part in (0, 1)],
        1: [],
        2: [("output_text", {"content_index": 0}, text)],
        3: [("function_call_arguments", {}, [arguments[at : at + 7] for at in range(0, 60, 7)])],
    }
    base = {"object": "response", "created_at": 1, "model": "gpt-5", "tools": []}
    events = [
        event("created", response={**base, "status": "queued", "output": []}),
        event("in_progress", response={**base, "status": "in_progress", "output": []}),
    ]
    empty = {"summary": [], "content": [], "arguments": ""}
    for index, item in enumerate(items):
        begun = {key: empty.get(key, value) for key, value in item.items()}
        events.append(event("output_item.added", output_index=index, item=begun))
        for kind, place, pieces in deltas[index]:
            where = {"item_id": item["id"], "output_index": index, **place}
            events += [event(f"{kind}.delta", delta=piece, **where) for piece in pieces if piece]
            done = {"text": "".join(pieces)} if place else {"arguments": "".join(pieces)}
            events.append(event(f"{kind}.done", **done, **where))
        events.append(event("output_item.done", output_index=index, item=item))
    usage = {"input_tokens": 20, "output_tokens": 5, "total_tokens": 25}
    ended = {**base, "status": "completed", "output": items, "usage": usage}
    return [*events, event("completed", response=ended)]
