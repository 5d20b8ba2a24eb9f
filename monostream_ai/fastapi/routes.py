"""Gives the endpoints of an application to a router of FastAPI.

No `from __future__ import annotations` here: FastAPI could not resolve annotations that name the
variables of a function.
"""

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.routing import APIRoute

from monostream_ai.chats.asgi import ChatApp
from monostream_ai.chats.endpoints import answer_plainly, store_owner


def routed(
    app: ChatApp,
    operations: Mapping[tuple[str, str], Mapping[str, Any]],
    *,
    prefix: str,
    authorize: Callable[..., Any] | None,
) -> APIRouter:
    """Return a router with the endpoints and the lifespan of an application.

    Args:
        operations: OpenAPI by method and path. The other paths are not shown.
    """

    async def lifespan_checked() -> None:
        app.check_lifespan()

    router = APIRouter(
        prefix=prefix,
        lifespan=app.lifespan,
        route_class=PlainRoute,
        dependencies=[Depends(lifespan_checked), Depends(owned_by(authorize))],
    )
    for method, path, answer, name in app.endpoints:
        router.add_api_route(
            path,
            answer,
            methods=[method],
            name=name,
            include_in_schema=(method, path) in operations,
            **operations.get((method, path), {}),
        )
    return router


def owned_by(authorize: Callable[..., Any] | None) -> Callable[..., Awaitable[None]]:
    """Return a dependency that stores the owner of the request: the result of `authorize`."""
    if authorize is None:
        return _owned_by_nobody
    if not callable(authorize):
        raise TypeError(
            f"authorize is {authorize!r:.80}: give it the dependency itself, as in authorize=user"
        )

    async def owned(request: Request, owner: Annotated[Any, Depends(authorize)]) -> None:
        store_owner(request, owner)

    return owned


async def _owned_by_nobody(request: Request) -> None:
    request.state.owner = None


class PlainRoute(APIRoute):
    """Refuses requests in plain text, also those that `authorize` refuses."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_plainly(request: Request) -> Response:
            return await answer_plainly(handle, request)

        return handle_plainly
