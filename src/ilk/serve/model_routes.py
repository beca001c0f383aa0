"""Routes of a server with a model: questions, corrections, versions, and what the model is."""

from __future__ import annotations

import base64
import io
import time
from typing import Any

from starlette.convertors import IntegerConvertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ilk.artifacts import multi_label_prediction, prediction_io
from ilk.artifacts.multi_label_prediction import MultiLabelPrediction
from ilk.images.decoding.pages import OPTION_HINT
from ilk.serve.ask_page import send_ask_page
from ilk.serve.bodies import read_form
from ilk.serve.form import Form, check_count
from ilk.serve.model_host import ModelHost
from ilk.serve.openapi import build_openapi
from ilk.serve.problems import Problem
from ilk.serve.served_model import ImageAnswer, ServedModel
from ilk.serve.shell import get_state

MAX_TOP = 5  # classes with their probabilities in an answer
EXPLAIN_OPTIONS = ("target", "against", "method")


class _NumberConvertor(IntegerConvertor):
    """Numbers of the log and of versions, which have few digits."""

    regex = "[0-9]{1,18}"


def list_model_routes() -> list[Route]:
    """Return the routes."""
    register_url_convertor("event_number", _NumberConvertor())
    return [
        Route("/", send_ask_page, methods=["GET"]),
        Route("/predict", predict, methods=["POST"]),
        Route("/explain", explain, methods=["POST"]),
        Route("/model", send_model, methods=["GET"]),
        Route("/corrections", list_corrections, methods=["GET"]),
        Route("/corrections", correct, methods=["POST"]),
        Route("/corrections", withdraw_all, methods=["DELETE"]),
        Route("/corrections/{number:event_number}", withdraw, methods=["DELETE"]),
        Route("/versions", send_versions, methods=["GET"]),
        Route("/versions", save_version, methods=["POST"]),
        Route("/versions/{number:event_number}", restore_version, methods=["POST"]),
        Route("/training-images/{digest}", send_training_image, methods=["GET"]),
        Route("/openapi.json", send_openapi, methods=["GET"]),
    ]


async def predict(request: Request) -> Response:
    """Answer for each image of a request."""
    started_at = time.perf_counter()
    host, state = get_host(request), get_state(request)
    async with read_form(request, host.limits, state.bodies) as form:
        check_count(len(form.images), host.limits)
        served, answers = await host.predict(form.images)
    rows = [describe_answer(served, answer) for answer in answers]
    seconds = round(time.perf_counter() - started_at, 5)
    content = {"model": served.digest, "predictions": rows, "seconds": seconds}
    if state.metrics is not None:
        state.metrics.count("ilk_images_total", len(rows))
    if all(answer.error for answer in answers):
        first = answers[0]
        raise Problem(422, f"{first.name!r} cannot be read: {first.error}", predictions=rows)
    return JSONResponse(content)


async def explain(request: Request) -> Response:
    """Return a heat map of one image, its verdict, and the nearest training images."""
    host, state = get_host(request), get_state(request)
    async with read_form(request, host.limits, state.bodies) as form:
        image, options = form.get_one_image(), _read_explain_options(form)
        served, explanation, row = await host.explain(image, **options)
    content = explanation.to_dict()
    if form.fields.get("values") not in (True, "true"):
        content.pop("values", None)
    index = served.neighbours
    for neighbour in content.get("neighbours", ()):
        has_picture = index is not None and bool(index.read_thumbnail(neighbour["digest"]))
        address = f"/training-images/{neighbour['digest']}" if has_picture else None
        neighbour["thumbnail"] = address
    overlay = _to_data_url(explanation.draw_overlay())
    return JSONResponse(
        {"model": served.digest, "digest": row.digest, **content, "overlay": overlay}
    )


def _read_explain_options(form: Form) -> dict[str, Any]:
    options: dict[str, Any] = {
        name: text for name in EXPLAIN_OPTIONS if (text := form.get_text(name))
    }
    for name, most in (("seed", 2**32 - 1), ("budget", 10_000)):
        given = form.fields.get(name)
        if given in (None, ""):
            continue
        text = str(given)
        if isinstance(given, bool) or not (
            text.isascii() and text.isdigit() and len(text) < 19 and int(text) <= most
        ):
            raise Problem(422, f"{name!r} must be a whole number from 0 to {most:,}")
        options[name] = int(text)
    return options


def _to_data_url(image: Any) -> str:
    file = io.BytesIO()
    image.save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


async def send_model(request: Request) -> Response:
    """Say which model answers."""
    return JSONResponse(describe_model(get_host(request)))


async def list_corrections(request: Request) -> Response:
    """Return the corrections that are not saved, and what they changed."""
    return JSONResponse(get_host(request).corrections.result.to_json())


async def correct(request: Request) -> Response:
    """Fold an image into the class that a user says it has."""
    host, state = get_host(request), get_state(request)
    async with read_form(request, host.limits, state.bodies) as form:
        image, label = form.get_one_image(), form.get_text("label")
        result = await host.change(host.corrections.add, image, label)
    if state.metrics is not None:
        state.metrics.count("ilk_corrections_total")
    return JSONResponse({**result.to_json(), "classes": list(host.served.classifier.classes)}, 201)


async def withdraw(request: Request) -> Response:
    """Take one pending correction back."""
    host = get_host(request)
    result = await host.change(host.corrections.withdraw, [request.path_params["number"]])
    return JSONResponse({**result.to_json(), "classes": list(host.served.classifier.classes)})


async def withdraw_all(request: Request) -> Response:
    """Take all pending corrections back."""
    host = get_host(request)
    numbers = [c.number for c in host.corrections.result.pending]
    result = await host.change(host.corrections.withdraw, numbers)
    return JSONResponse({**result.to_json(), "classes": list(host.served.classifier.classes)})


async def send_versions(request: Request) -> Response:
    """Return the versions of the model."""
    host = get_host(request)
    return JSONResponse({"versions": await host.change(host.corrections.list_versions)})


async def save_version(request: Request) -> Response:
    """Save the pending corrections as a new version."""
    host = get_host(request)
    number = await host.change(host.corrections.save)
    versions = await host.change(host.corrections.list_versions)
    return JSONResponse({"number": number, "versions": versions}, 201)


async def restore_version(request: Request) -> Response:
    """Put a version of the model back."""
    host, number = get_host(request), request.path_params["number"]
    await host.change(host.corrections.restore, number)
    versions = await host.change(host.corrections.list_versions)
    return JSONResponse({"number": number, "versions": versions})


async def send_training_image(request: Request) -> Response:
    """Return the small picture of a training image that the model keeps."""
    index, digest = get_host(request).served.neighbours, request.path_params["digest"]
    content = index.read_thumbnail(digest) if index is not None else b""
    if not content:
        raise Problem(404, "the model keeps no picture of such a training image")
    headers = {"Cache-Control": "private, max-age=3600"}
    return Response(content, media_type="image/jpeg", headers=headers)


async def send_openapi(_request: Request) -> Response:
    """Return the description of all of this (OpenAPI 3.1)."""
    return JSONResponse(build_openapi())


def get_host(request: Request) -> ModelHost:
    """Return the model of the server."""
    host = get_state(request).host
    assert host is not None
    return host


def describe_answer(served: ServedModel, result: ImageAnswer) -> dict[str, Any]:
    """Return what a client is told about one image."""
    answer = result.answer
    if answer is None or result.row is None:
        return {"path": result.name, "error": result.error}
    prediction = answer.prediction
    if isinstance(prediction, MultiLabelPrediction):
        row = multi_label_prediction.to_row(prediction)
    else:
        row = prediction_io.to_row(prediction)
    order = (-answer.probabilities).argsort(kind="stable")[:MAX_TOP]
    classes = served.classifier.classes
    seconds = {
        "decoding": round(result.decode_seconds, 5),
        "waiting": round(answer.seconds - answer.model_seconds, 5),
        "model": round(answer.model_seconds, 5),
    }
    return {
        **row,
        "path": result.name,
        "top": [
            {"name": classes[c], "probability": round(float(answer.probabilities[c]), 6)}
            for c in order
        ],
        "digest": result.row.digest,
        "width": result.row.width,
        "height": result.row.height,
        "seconds": seconds,
        **({"note": result.row.detail.replace(OPTION_HINT, "")} if result.row.detail else {}),
    }


def describe_model(host: ModelHost) -> dict[str, Any]:
    """Return what a client is told about the model."""
    served, limits = host.served, host.limits
    metadata = served.base.metadata
    reason = host.corrections.reason_against
    return {
        "name": host.folder.resolve().name,
        "digest": served.digest,
        "loaded": served.loaded,
        "kind": "single-label" if host.is_single_label else "multi-label",
        "classes": list(served.classifier.classes),
        "encoder": served.base.encoder.name,
        "method": str(metadata.get("method", "")),
        "coverage": (metadata.get("thresholds") or {}).get("coverage"),
        "note": host.note,
        "pending_corrections": len(host.corrections.result.pending),
        "correctable": not reason,
        "reason": reason,
        "limits": {
            "image_bytes": limits.image_bytes,
            "request_bytes": limits.request_bytes,
            "images": limits.images,
            "pixels": limits.pixels,
        },
    }
