"""Routes that every server has: its health and its counters."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ilk.serve.metrics import MEDIA_TYPE
from ilk.serve.shell import get_state


def list_common_routes() -> list[Route]:
    """Return the routes."""
    return [
        Route("/health", send_health, methods=["GET"]),
        Route("/metrics", send_metrics, methods=["GET"]),
    ]


async def send_health(request: Request) -> Response:
    """Say whether the server can answer."""
    host = get_state(request).host
    note = host.note if host is not None else ""
    return JSONResponse({"status": "degraded" if note else "ok", "note": note})


async def send_metrics(request: Request) -> Response:
    """Return the counters as text."""
    metrics = get_state(request).metrics
    assert metrics is not None
    return Response(metrics.render(), media_type=MEDIA_TYPE)
