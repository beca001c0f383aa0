"""The description of the HTTP interface: OpenAPI 3.1."""

from __future__ import annotations

from ilk import __version__
from ilk.serve.openapi_schemas import (
    BASE64,
    BINARY,
    DIGEST_PARAMETER,
    EXPLAIN_FIELDS,
    LABEL,
    NAMED_BASE64,
    NUMBER_PARAMETER,
    SCHEMAS,
    Json,
)
from ilk.serve.problems import MEDIA_TYPE

ONE_IMAGE: Json = {"anyOf": [BASE64, NAMED_BASE64]}


def build_openapi() -> Json:
    """Return the description of every route of a server with a model."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ilk serve",
            "version": __version__,
            "description": "Ask an image classifier, see why, and correct it.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{}, {"token": []}, {"page": []}],
        "paths": {**_describe_questions(), **_describe_corrections(), **_describe_server()},
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "page": {"type": "apiKey", "in": "header", "name": "X-Ilk-CSRF"},
            },
        },
    }


def _describe_questions() -> Json:
    """Return the routes that answer questions about images."""
    several: Json = {"type": "array", "items": ONE_IMAGE, "minItems": 1}
    return {
        "/predict": {
            "post": _operation(
                "predict",
                "Classify one or more images.",
                "Predictions",
                _form({"image": several}, {"image": ONE_IMAGE, "images": several}, raw=True),
                errors=(400, 408, 413, 415, 422, 503, 504),
            )
        },
        "/explain": {
            "post": _operation(
                "explain",
                "Show what in an image supports the answer, and whether that can be trusted.",
                "Explanation",
                _form({"image": BINARY, **EXPLAIN_FIELDS}, {"image": ONE_IMAGE, **EXPLAIN_FIELDS}),
                errors=(400, 408, 413, 415, 422, 503, 504),
            )
        },
    }


def _describe_corrections() -> Json:
    """Return the routes that change the model."""
    return {
        "/corrections": {
            "get": _operation("listCorrections", "Corrections not yet saved.", "Corrections"),
            "post": _operation(
                "correct",
                "Add an image to its class, known or new.",
                "Corrections",
                _form(
                    {"image": BINARY, "label": LABEL},
                    {"image": ONE_IMAGE, "label": LABEL},
                    required=("image", "label"),
                ),
                status=201,
                errors=(400, 403, 408, 409, 413, 415, 422, 503, 504, 507),
            ),
            "delete": _operation(
                "withdrawAll", "Undo all of them.", "Corrections", errors=(403, 404, 504, 507)
            ),
        },
        "/corrections/{number}": {
            "delete": _operation(
                "withdraw",
                "Undo one of them.",
                "Corrections",
                errors=(403, 404, 504, 507),
                parameters=(NUMBER_PARAMETER,),
            )
        },
        "/versions": {
            "get": _operation("listVersions", "Versions of the model.", "Versions"),
            "post": _operation(
                "saveVersion",
                "Save the corrections as a new version.",
                "Versions",
                status=201,
                errors=(403, 409, 503, 504, 507),
            ),
        },
        "/versions/{number}": {
            "post": _operation(
                "restoreVersion",
                "Restore a version.",
                "Versions",
                errors=(403, 404, 409, 503, 504, 507),
                parameters=(NUMBER_PARAMETER,),
            )
        },
    }


def _describe_server() -> Json:
    """Return the routes that tell about the model and the server."""
    return {
        "/model": {"get": _operation("getModel", "Say which model answers.")},
        "/health": {"get": _operation("getHealth", "Say whether the server can answer.")},
        "/metrics": {
            "get": _operation("getMetrics", "Counters for Prometheus.", media="text/plain")
        },
        "/training-images/{digest}": {
            "get": _operation(
                "getTrainingImage",
                "A small picture of a training image that an explanation named.",
                media="image/jpeg",
                errors=(404,),
                parameters=(DIGEST_PARAMETER,),
            )
        },
        "/openapi.json": {"get": _operation("getOpenApi", "This description.")},
    }


def _operation(
    name: str,
    summary: str,
    schema: str = "",
    body: Json | None = None,
    *,
    status: int = 200,
    errors: tuple[int, ...] = (),
    media: str = "application/json",
    parameters: tuple[Json, ...] = (),
) -> Json:
    answer: Json = {"$ref": f"#/components/schemas/{schema}"} if schema else {}
    problem = {"$ref": "#/components/schemas/Problem"}
    responses: Json = {
        str(status): {"description": "The answer.", "content": {media: {"schema": answer}}}
    }
    for code in sorted({401, 421, *errors}):
        responses[str(code)] = {
            "description": "A problem.",
            "content": {MEDIA_TYPE: {"schema": problem}},
        }
    operation: Json = {"operationId": name, "summary": summary, "responses": responses}
    if parameters:
        operation["parameters"] = list(parameters)
    if body:
        operation["requestBody"] = body
    return operation


def _form(
    multipart: Json, json: Json, *, required: tuple[str, ...] = ("image",), raw: bool = False
) -> Json:
    """Return the description of a body: as a form, as JSON, and as the bytes of one image."""
    content: Json = {
        "multipart/form-data": {
            "schema": {"type": "object", "required": list(required), "properties": multipart}
        },
        "application/json": {"schema": {"type": "object", "properties": json}},
    }
    if "images" in multipart or "images" in json:
        content["multipart/form-data"]["schema"]["properties"]["image"] = {
            "type": "array",
            "items": BINARY,
            "minItems": 1,
        }
    if raw:
        content["image/*"] = {"schema": BINARY}
    return {"required": True, "content": content}
