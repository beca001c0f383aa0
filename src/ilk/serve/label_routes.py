"""The labelling page and what it asks the server for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from html import escape
from importlib.resources import files
from typing import Any

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ilk.labelling.session import LabellingSession
from ilk.serve.bodies import read_body
from ilk.serve.json_body import parse_object
from ilk.serve.label_answers import apply_answer
from ilk.serve.label_exports import ExportJobs
from ilk.serve.label_images import ImageFiles
from ilk.serve.label_views import (
    describe_annotators,
    describe_disagreements,
    describe_groups,
    describe_own_answers,
    describe_progress,
    describe_state,
)
from ilk.serve.shell import get_state, respond_page

MAX_BODY = 2**20  # bytes of an answer: digests of a group and a name
MAX_LISTED = 2_000  # own answers at a time
Handler = Callable[[Request], Any]


class LabelRoutes:
    """Routes under `/label` for one session.

    Args:
        session: The open session.
        images: Its images as JPEG.
        exports: Exports in the background.
    """

    def __init__(self, session: LabellingSession, images: ImageFiles, exports: ExportJobs) -> None:
        self.session, self.images, self.exports = session, images, exports
        self._page = _read_page(session)

    def list_routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/label", self.send_page, methods=["GET"]),
            Route("/label/images/{digest}", self.send_image, methods=["GET"]),
            Route("/label/labels.csv", self.send_table, methods=["GET"]),
            Route("/label/api/events", self.take_answer, methods=["POST"]),
            Route("/label/api/exports", self.start_export, methods=["POST"]),
            *(
                Route(f"/label/api/{name}", _answer(function), methods=["GET"])
                for name, function in {
                    "annotators": lambda _: describe_annotators(self.session),
                    "state": self._describe_state,
                    "groups": lambda _: describe_groups(self.session),
                    "labels": self._describe_own_answers,
                    "progress": lambda _: describe_progress(self.session),
                    "disagreements": lambda _: describe_disagreements(self.session),
                    "exports": lambda _: {"jobs": self.exports.list_jobs()},
                }.items()
            ),
        ]

    async def send_page(self, request: Request) -> Response:
        """Return the page."""
        return respond_page(
            request, "Label", self._page, "/static/label.js", styles=("/static/label.css",)
        )

    async def send_image(self, request: Request) -> Response:
        """Return an image of the session, by its digest, as a JPEG of one of two sizes."""
        digest, size = request.path_params["digest"], request.query_params.get("size", "")
        content = await to_thread.run_sync(self.images.read, digest, size)
        return Response(
            content,
            media_type="image/jpeg",
            headers={"Cache-Control": "private, max-age=86400, immutable"},
        )

    async def send_table(self, _request: Request) -> Response:
        """Return the labels as CSV, with paths relative to the folder of the log."""
        content = await to_thread.run_sync(self.exports.make_table)
        return Response(
            content,
            media_type="text/csv",
            headers={"Content-Disposition": 'attachment; filename="labels.csv"'},
        )

    async def take_answer(self, request: Request) -> Response:
        """Take an answer, or take one back; an event whose key is known changes nothing."""
        event = await _read_json(request)
        return JSONResponse(await to_thread.run_sync(apply_answer, self.session, event))

    async def start_export(self, request: Request) -> Response:
        """Start an export in the background; the server chooses where it is written."""
        kind = (await _read_json(request)).get("kind")
        await to_thread.run_sync(self.exports.start, kind)
        return JSONResponse({"jobs": self.exports.list_jobs()}, 202)

    def _describe_state(self, request: Request) -> dict[str, Any]:
        return describe_state(self.session, request.query_params.get("annotator", ""))

    def _describe_own_answers(self, request: Request) -> dict[str, Any]:
        query = request.query_params
        n = query.get("n", "60")
        count = min(int(n), MAX_LISTED) if n.isdecimal() and len(n) < 9 else 60
        return describe_own_answers(
            self.session, query.get("annotator", ""), query.get("label", ""), count
        )


def _answer(describe: Handler) -> Handler:
    """Return a route that answers with what a function says, in a thread of its own."""

    async def answer(request: Request) -> Response:
        return JSONResponse(await to_thread.run_sync(partial(describe, request)))

    return answer


def _read_page(session: LabellingSession) -> str:
    """Return the page's main part, which names the log that its answers belong to."""
    page = files("ilk.serve").joinpath("static", "label.html").read_text("utf-8")
    log_id = hashlib.sha256(str(session.log.path.resolve()).encode()).hexdigest()[:16]
    folder = str(session.images.root or "")
    return page.replace("{log_id}", log_id).replace("{folder}", escape(folder))


async def _read_json(request: Request) -> dict[str, Any]:
    """Return the body of a request.

    Raises:
        Problem: It is too long or slow, or no JSON object.
    """
    state = get_state(request)
    async with read_body(request, state.limits, state.bodies, MAX_BODY) as body:
        return parse_object(body, '{"kind": "skip"}')
