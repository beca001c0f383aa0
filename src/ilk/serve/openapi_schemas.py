"""The values that the HTTP interface takes and returns, as JSON schemas for OpenAPI 3.1."""

from __future__ import annotations

from typing import Any

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
            "description": "Labels that apply, for models with several labels per image.",
        },
        "probability": {"type": ["number", "null"], "description": "Calibrated."},
        "probabilities": {"type": "object", "additionalProperties": PROBABILITY},
        "set": {
            "type": ["array", "null"],
            "items": TEXT,
            "description": "Classes, among them the true one at the target rate.",
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
