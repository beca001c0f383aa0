"""What one server gives at most: bytes, pixels, images, places in the queue and seconds."""

from __future__ import annotations

from dataclasses import dataclass

MEGABYTE = 2**20


@dataclass(frozen=True)
class Limits:
    """Bounds of one server.

    Attributes:
        image_bytes: Bytes of one image.
        request_bytes: Bytes of the body of one request.
        bodies_bytes: Bytes of all bodies that are held at once.
        images: Images in one request.
        pixels: Width × height of one image.
        queue: Images that are waiting for the model.
        explanations: Explanations that wait or run.
        seconds: How long a request waits for its answer.
        upload_seconds: How long a body may take to arrive.
        explanation_seconds: How long a request waits for an explanation.
        decode_seconds: How long one image may take to be decoded.
        decode_bytes: Memory of a process that decodes.
        decoders: Processes that decode.
    """

    image_bytes: int = 64 * MEGABYTE
    request_bytes: int = 128 * MEGABYTE
    bodies_bytes: int = 512 * MEGABYTE
    images: int = 256
    pixels: int = 64_000_000
    queue: int = 512
    explanations: int = 4
    seconds: float = 30.0
    upload_seconds: float = 60.0
    explanation_seconds: float = 120.0
    decode_seconds: float = 10.0
    decode_bytes: int = 2048 * MEGABYTE
    decoders: int = 2
