"""The mean of features over flips and crops."""

from __future__ import annotations

import numpy as np

from ilk.encoders.network import NetworkEncoder
from ilk.encoders.views import PART, VIEWS, ViewEncoder
from ilk.export.graphs.find_writers import find_encoder_writer
from ilk.export.graphs.graph import Expression
from ilk.export.graphs.picture import Picture, prepare

ENCODER = ViewEncoder


def write_pixels(encoder: ViewEncoder, picture: Picture) -> Expression:
    """Return the prepared views of images, view after view, `[v n, c, h, w]`."""
    views = [_write_view(encoder, picture, *v) for v in VIEWS[: encoder.n_views]]
    return picture.pixels.graph.concatenate(views, 0)


def _write_view(
    encoder: ViewEncoder, picture: Picture, place: tuple[float, float] | None, is_mirrored: bool
) -> Expression:
    part = picture if place is None else picture.crop_part(PART, place)
    if is_mirrored:
        part = part.mirror()
    base = encoder.base
    if place is not None and isinstance(base, NetworkEncoder):
        return prepare(part, base.preprocess.without_margin())
    pixels: Expression = find_encoder_writer(base).write_pixels(base, part)
    return pixels


def write_features(encoder: ViewEncoder, pixels: Expression) -> Expression:
    """Return the mean features `[n, d]` of prepared views `[v n, c, h, w]`."""
    base = encoder.base
    features = find_encoder_writer(base).write_features(base, pixels)
    by_view = features.cast(np.float64).reshape(encoder.n_views, -1, base.space.dim)
    return by_view.reduce("Mean", 0, keepdims=False).cast(np.float32)
