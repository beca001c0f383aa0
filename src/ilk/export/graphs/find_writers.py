"""Find what writes an encoder or a saved part as ONNX, by the files of two folders."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Protocol

from ilk.core.errors import InputError
from ilk.core.registry import find_modules
from ilk.export.graphs.graph import Expression

ENCODERS, PARTS = "ilk.export.encoders", "ilk.export.parts"
LogitsWriter = Callable[[Any, Expression], Expression]


class EncoderWriter(Protocol):
    """A file of `export/encoders`, whose constant `ENCODER` is the class that it writes."""

    def write_pixels(self, encoder: Any, picture: Any) -> Any:
        """Return the prepared images of a `Picture`, or a list of them."""
        ...

    def write_features(self, encoder: Any, pixels: Any) -> Expression:
        """Return features `[n, d]` float32 of what `write_pixels` returned."""
        ...


@cache
def list_encoder_writers() -> dict[type, EncoderWriter]:
    """Return the files of `export/encoders` by the class of encoders that they write."""
    return {module.ENCODER: module for module in find_modules(ENCODERS).values()}


def find_encoder_writer(encoder: Any) -> EncoderWriter:
    """Return what writes an encoder.

    Raises:
        InputError: Nothing does.
    """
    writers = list_encoder_writers()
    for ancestor in type(encoder).__mro__:
        if ancestor in writers:
            return writers[ancestor]
    raise InputError(
        f"{encoder.name} is not a single pass of a network over an image, and ONNX cannot "
        "express it; keep using `ilk predict`, or fit the model with another encoder, such as "
        "efficientnet-lite0"
    )


@cache
def list_part_writers() -> dict[str, LogitsWriter]:
    """Return the functions of `export/parts` by the kind of part whose logits they write.

    Raises:
        ValueError: Two files write one kind.
    """
    writers: dict[str, LogitsWriter] = {}
    for module in find_modules(PARTS).values():
        for kind, writer in module.WRITERS.items():
            if kind in writers:
                raise ValueError(f"two files of {PARTS} write the kind {kind!r}")
            writers[kind] = writer
    return writers


def write_logits(model: Any, x: Expression) -> Expression:
    """Return the logits `[n, k]` float64 of features `[n, d]`, by a model with a `kind`.

    Raises:
        InputError: ONNX cannot express the model.
    """
    writer = list_part_writers().get(getattr(model, "kind", ""))
    if writer is None:
        raise InputError(
            f"the head {getattr(model, 'kind', type(model).__name__)!r} of this model cannot be "
            "written as ONNX; keep using `ilk predict`, or fit the model with another --method, "
            "such as GDA or LogisticRegression"
        )
    return writer(model, x)
