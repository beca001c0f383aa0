"""The description of the HTTP interface: OpenAPI 3.1."""

from __future__ import annotations

from typing import Any

from ilk import __version__
from ilk.serve.problems import MEDIA_TYPE

Json = dict[str, Any]

TEXT: Json = {"type": "string"}
NUMBER: Json = {"type": "number"}
WHOLE: Json = {"type": "integer", "minimum": 0}
PROBABILITY: Json = {"type": "number", "minimum": 0, "maximum": 1}
IMAGE_DESCRIPTION = "An image file as base64, with or without `data:…,` before it."
BASE64: Json = {"type": "string", "contentEncoding": "base64", "description": IMAGE_DESCRIPTION}
NAMED_BASE64: Json = {
    "type": "object",
    "required": ["data"],
    "properties": {"name": {"type": "string", "maxLength": 200}, "data": BASE64},
}
BINARY: Json = {"type": "string", "contentMediaType": "application/octet-stream"}
LABEL: Json = {"type": "string", "minLength": 1, "maxLength": 200}
PROBLEM: Json = {
    "type": "object",
    "description": "A problem (RFC 9457).",
    "required": ["type", "title", "status", "detail"],
    "properties": {"type": TEXT, "title": TEXT, "status": WHOLE, "detail": TEXT},
}
PREDICTION: Json = {
    "type": "object",
    "required": ["path"],
    "properties": {
        "path": {"type": "string", "description": "The name of the image in the request."},
        "name": {"type": ["string", "null"], "description": "The most probable class."},
        "names": {
            "type": ["array", "null"],
            "items": TEXT,
            "description": "Labels that apply, where images have several.",
        },
        "probability": {"type": ["number", "null"], "description": "Calibrated."},
        "probabilities": {"type": "object", "additionalProperties": PROBABILITY},
        "set": {
            "type": ["array", "null"],
            "items": TEXT,
            "description": "Classes that contain the true one at the target rate.",
        },
        "unknown": {"type": ["boolean", "null"], "description": "Unlike the training images."},
        "unknown_score": {"type": ["number", "null"]},
        "top": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "probability"],
                "properties": {"name": TEXT, "probability": PROBABILITY},
            },
        },
        "digest": {"type": "string", "description": "SHA-256 of the file."},
        "width": WHOLE,
        "height": WHOLE,
        "seconds": {"type": "object", "additionalProperties": NUMBER},
        "error": {"type": ["string", "null"], "description": "Why it could not be read."},
        "note": TEXT,
    },
}
PREDICTIONS: Json = {
    "type": "object",
    "required": ["model", "predictions", "seconds"],
    "properties": {
        "model": {"type": "string", "description": "Digest of the model that answered."},
        "predictions": {"type": "array", "items": {"$ref": "#/components/schemas/Prediction"}},
        "seconds": NUMBER,
    },
}
EXPLANATION: Json = {
    "type": "object",
    "required": ["method", "target", "probability", "verdict", "text", "overlay"],
    "properties": {
        "method": TEXT,
        "target": TEXT,
        "against": TEXT,
        "probability": PROBABILITY,
        "verdict": {
            "type": "object",
            "required": ["is_trustworthy", "sentence"],
            "properties": {"is_trustworthy": {"type": "boolean"}, "sentence": TEXT},
        },
        "text": TEXT,
        "neighbours": {"type": "array", "items": {"type": "object"}},
        "overlay": {"type": "string", "description": "PNG as a data URL."},
        "n_passes": WHOLE,
        "seconds": NUMBER,
    },
}
CORRECTION_STATE: Json = {
    "type": "object",
    "required": ["pending", "set_aside", "seconds", "change"],
    "properties": {
        "pending": {"type": "array", "items": {"type": "object"}},
        "set_aside": TEXT,
        "seconds": NUMBER,
        "change": {"type": ["object", "null"]},
        "classes": {"type": "array", "items": TEXT},
    },
}
VERSIONS: Json = {
    "type": "object",
    "required": ["versions"],
    "properties": {
        "number": WHOLE,
        "versions": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["number", "digest", "current"],
                "properties": {"number": WHOLE, "digest": TEXT, "current": {"type": "boolean"}},
            },
        },
    },
}
SCHEMAS: dict[str, Json] = {
    "Problem": PROBLEM,
    "Prediction": PREDICTION,
    "Predictions": PREDICTIONS,
    "Explanation": EXPLANATION,
    "Corrections": CORRECTION_STATE,
    "Versions": VERSIONS,
}
NUMBER_PARAMETER: Json = {
    "name": "number",
    "in": "path",
    "required": True,
    "schema": {"type": "integer", "minimum": 0, "maximum": 2**31 - 1},
}
DIGEST_PARAMETER: Json = {
    "name": "digest",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
}
EXPLAIN_FIELDS: Json = {
    "target": {"type": "string", "description": "The class to explain; by default the answer."},
    "against": {"type": "string", "description": "A class to contrast it with, or runner-up."},
    "method": {"type": "string", "description": "auto, or the name of a method."},
    "seed": {"type": "integer", "minimum": 0, "maximum": 2**32 - 1},
    "budget": {"type": "integer", "minimum": 1, "maximum": 10_000},
    "values": {"type": "boolean", "description": "Return the map as numbers as well."},
}


def build_openapi() -> Json:
    """Return the description of every route of a server with a model."""
    several: Json = {"type": "array", "items": {"anyOf": [BASE64, NAMED_BASE64]}, "minItems": 1}
    one = {"anyOf": [BASE64, NAMED_BASE64]}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ilk serve",
            "version": __version__,
            "description": "Ask an image classifier, see why, and correct it.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{}, {"token": []}, {"page": []}],
        "paths": {
            "/predict": {
                "post": _operation(
                    "predict",
                    "Classify one image or several.",
                    "Predictions",
                    _form({"image": several}, {"image": one, "images": several}, raw=True),
                    errors=(400, 408, 413, 415, 422, 503, 504),
                )
            },
            "/explain": {
                "post": _operation(
                    "explain",
                    "Show what in an image speaks for its answer, and whether that can be trusted.",
                    "Explanation",
                    _form({"image": BINARY, **EXPLAIN_FIELDS}, {"image": one, **EXPLAIN_FIELDS}),
                    errors=(400, 408, 413, 415, 422, 503, 504),
                )
            },
            "/model": {"get": _operation("getModel", "Say which model answers.")},
            "/health": {"get": _operation("getHealth", "Say whether the server can answer.")},
            "/metrics": {
                "get": _operation("getMetrics", "Counters for Prometheus.", media="text/plain")
            },
            "/corrections": {
                "get": _operation("listCorrections", "Corrections not yet saved.", "Corrections"),
                "post": _operation(
                    "correct",
                    "Fold an image into the class that it has, known or new.",
                    "Corrections",
                    _form(
                        {"image": BINARY, "label": LABEL},
                        {"image": one, "label": LABEL},
                        required=("image", "label"),
                    ),
                    status=201,
                    errors=(400, 403, 408, 409, 413, 415, 422, 503, 504, 507),
                ),
                "delete": _operation(
                    "withdrawAll", "Take all of them back.", "Corrections", errors=(403, 504, 507)
                ),
            },
            "/corrections/{number}": {
                "delete": _operation(
                    "withdraw",
                    "Take one of them back.",
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
                    "Put a version back.",
                    "Versions",
                    errors=(403, 404, 409, 503, 504, 507),
                    parameters=(NUMBER_PARAMETER,),
                )
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
        },
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "page": {"type": "apiKey", "in": "header", "name": "X-Ilk-CSRF"},
            },
        },
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
