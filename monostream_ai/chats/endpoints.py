"""Endpoints as any framework may call them: the owner of a request, the plain text of a refusal."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple, TypeAlias

from starlette.convertors import PathConvertor, StringConvertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from monostream_ai.chats.turns.requests import RequestRefused
from monostream_ai.errors import (
    InvalidArgument,
    InvalidStreamId,
    InvalidText,
    ServiceClosed,
    StoreUnavailable,
)
from monostream_ai.types import check_text

Answer: TypeAlias = Callable[[Request], Awaitable[Response]]


LAST_EVENT: Final = "last-event-id"


class ChatIdConvertor(PathConvertor):
    """Matches any text as a chat id, even with slashes and line breaks.

    Starlette's own `path` ends at a line break.
    """

    regex = "(?s:.*)"


class NumberConvertor(StringConvertor):
    """Matches any text in the place of a number, so that a route can refuse it.

    An empty one too: Starlette would redirect its request to the path without the slash, which
    names all questions. `queue` ends the path of a chat whose id ends with `/queue`.
    """

    regex = "(?!queue$)[^/]*"


register_url_convertor("chat_id", ChatIdConvertor())
register_url_convertor("number", NumberConvertor())


class Endpoint(NamedTuple):
    """One route. Before `answer` is called, `store_owner` puts the owner into the request."""

    method: str
    path: str
    """Below the prefix; empty for the prefix itself."""
    answer: Answer
    name: str


def store_owner(request: Request, owner: Any) -> None:
    """Put the result of `authorize` into the `state` of the request.

    Raises:
        TypeError: It is not a string, or it is empty.
        InvalidText: No column could hold it.
    """
    # None as an owner would show the chats of a router without `authorize`.
    if not isinstance(owner, str) or not owner:
        raise TypeError(
            "authorize must return the owner as a string that is not empty, "
            f"not {'an empty one' if owner == '' else type(owner).__name__}"
        )
    # Here, so that each route refuses it, and none builds the id of a stream from it.
    request.state.owner = check_text("owner", owner)


def event_in(request: Request) -> str | None:
    """Return the event after which a client wants to go on, if it has seen one.

    The header is the browser's, and newer than the URL.
    """
    return request.headers.get(LAST_EVENT) or request.query_params.get("after")


async def answer_plainly(answer: Answer, request: Request) -> Response:
    """Answer a request, or refuse it in plain text: clients show the body of an error to the user.

    `HTTPException` is Starlette's, of which FastAPI's is a kind.
    """
    try:
        return await answer(request)
    except RequestRefused as refused:
        # The unread rest of a body that is too large would follow on this connection.
        headers = {"connection": "close"} if refused.status == 413 else None
        return PlainTextResponse(refused.text, refused.status, headers)
    except InvalidStreamId:
        return PlainTextResponse("The request has no valid chat id.", 400)
    except InvalidText as error:
        return PlainTextResponse(f"The request has no valid {error.name}.", 400)
    except InvalidArgument:
        return PlainTextResponse("The request is not valid.", 400)
    except (StoreUnavailable, ServiceClosed):
        return PlainTextResponse("The server cannot answer right now. Please try again.", 503)
    except HTTPException as error:
        return PlainTextResponse(str(error.detail), error.status_code, dict(error.headers or {}))
