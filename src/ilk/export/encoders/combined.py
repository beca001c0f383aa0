"""Several encoders side by side. Each prepares the images in its own way."""

from __future__ import annotations

from ilk.encoders.combined import CombinedEncoder
from ilk.export.graphs.find_writers import find_encoder_writer
from ilk.export.graphs.graph import Expression
from ilk.export.graphs.picture import Picture

ENCODER = CombinedEncoder


def write_pixels(encoder: CombinedEncoder, picture: Picture) -> list[Expression]:
    """Return what each part prepares."""
    return [find_encoder_writer(part).write_pixels(part, picture) for part in encoder.parts]


def write_features(encoder: CombinedEncoder, pixels: list[Expression]) -> Expression:
    """Return the features of all parts, `[n, d]`."""
    blocks = [
        find_encoder_writer(part).write_features(part, x)
        for part, x in zip(encoder.parts, pixels, strict=True)
    ]
    return blocks[0].graph.concatenate(blocks, 1)
