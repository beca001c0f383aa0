"""The web application: routes, and what every request passes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from ilk.core.errors import IlkError
from ilk.serve.metrics import CountRequests, Metrics
from ilk.serve.problems import CatchFaults, handle_http_error, handle_ilk_error
from ilk.serve.security import Guard
from ilk.serve.shell import list_static_routes
from ilk.serve.state import NavigationItem, ServerState

if TYPE_CHECKING:
    from ilk.serve.model_host import ModelHost

__all__ = ["NavigationItem", "ServerState", "create_app"]


def create_app(
    state: ServerState,
    routes: Sequence[BaseRoute] = (),
    pages: Sequence[NavigationItem] = (),
) -> Starlette:
    """Return the application of a server.

    With a model in `state.host`, it answers questions about images; without one, only `routes`,
    style sheets and `/health`.

    Args:
        state: What all requests share; closed when the application ends.
        routes: Further routes, which come before the application's own.
        pages: Their entries in the navigation.
    """
    from ilk.serve.common_routes import list_common_routes

    own_routes: list[BaseRoute] = [*list_common_routes(), *list_static_routes("ilk.serve")]
    own_pages: list[NavigationItem] = []
    state.metrics = state.metrics or Metrics()
    if state.host is not None:
        from ilk.serve.model_routes import list_model_routes

        own_routes += list_model_routes()
        _add_gauges(state.metrics, state.host)
        own_pages.append(NavigationItem("/", "Ask"))
    state.navigation = (*own_pages, *pages)
    if state.host is None and pages:
        own_routes.append(Route("/", _redirect_to(pages[0].path)))

    @asynccontextmanager
    async def close_at_end(_app: Starlette) -> AsyncIterator[None]:
        try:
            yield
        finally:
            state.close()

    app = Starlette(
        routes=[*routes, *own_routes],
        middleware=[
            Middleware(CountRequests, metrics=state.metrics),
            Middleware(Guard, state=state),
            Middleware(CatchFaults),
        ],
        exception_handlers={IlkError: handle_ilk_error, HTTPException: handle_http_error},
        lifespan=close_at_end,
    )
    app.router.redirect_slashes = False
    app.state.server = state
    return app


def _add_gauges(metrics: Metrics, host: ModelHost) -> None:
    """Let the counters show how busy the model is."""
    metrics.describe("ilk_images_total", "Images that were answered or refused.")
    metrics.describe("ilk_corrections_total", "Corrections that were folded in.")
    for name, text, read in (
        (
            "ilk_queue_images",
            "Images that are waiting for the model.",
            lambda: host.batcher.n_waiting,
        ),
        ("ilk_batches", "Batches that the model has answered.", lambda: host.batcher.n_batches),
        ("ilk_batched_images", "Images in these batches.", lambda: host.batcher.n_images),
        ("ilk_decoder_restarts", "Images that ended a decoder.", lambda: host.decoder.n_killed),
        ("ilk_start_seconds", "Start of the server, Unix time.", lambda: host.started_at),
    ):
        metrics.describe(name, text)
        metrics.set_gauge(name, read)


def _redirect_to(path: str) -> Callable[[Request], Awaitable[Response]]:
    async def redirect(_request: Request) -> Response:
        return RedirectResponse(path)

    return redirect
