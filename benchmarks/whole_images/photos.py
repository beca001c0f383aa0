"""Photographs as features of `efficientnet-lite0`: plain, over views, and cut to strips."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from benchmarks.decoders import PACS_CLASSES, PACS_STYLES
from benchmarks.shared_files import iterate_archive, load_or_compute_arrays
from ilk.core.capabilities import Embeds
from ilk.core.data import Features, Labels
from ilk.encoders import resolve_encoder
from ilk.encoders.views import ViewEncoder

N_VIEWS = 6
BATCH_SIZE = 32
RATIOS = (4 / 3, 3 / 2, 2.0, 3.0)
WAYS = ("crop", "squash", "letterbox")


@dataclass(frozen=True)
class Photos:
    """Images of one size and what they are encoded with.

    Attributes:
        images: n square images.
        y: Class of each, `[n]`.
        style: Style of each, `[n]`.
        classes: Class names.
        encoder: Name of the plain encoder.
        cache: Name for the cache of features; "" for none.
    """

    images: tuple[Image.Image, ...]
    y: Labels
    style: Labels
    classes: tuple[str, ...]
    encoder: str
    cache: str


def read_pacs_images() -> Photos:
    """Read PACS: 30 images of each of 7 classes in 4 styles, 227 x 227."""
    rows = [
        (name.split("/")[-3:-1], Image.open(io.BytesIO(raw)).convert("RGB"))
        for name, raw in iterate_archive("pacs_subset", "pacs_subset.tar.gz")
        if name.endswith((".jpg", ".png"))
    ]
    y = np.array([PACS_CLASSES.index(label) for (_, label), _ in rows])
    style = np.array([PACS_STYLES.index(style) for (style, _), _ in rows])
    images = tuple(image for _, image in rows)
    return Photos(images, y, style, PACS_CLASSES, "efficientnet-lite0", "pacs")


def read_digit_images() -> Photos:
    """Read 30 of scikit-learn's digits of each of five classes, enlarged to 32 x 32, as pixels."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    rows = np.concatenate([np.flatnonzero(y == c)[:30] for c in range(5)])
    images = tuple(
        Image.fromarray((x[i].reshape(8, 8) * 15).astype(np.uint8)).convert("RGB").resize((32, 32))
        for i in rows
    )
    style = np.full(len(rows), PACS_STYLES.index("photo"))
    return Photos(images, y[rows].astype(np.int64), style, tuple("01234"), "pixels/8x8x3", "")


def encode_views(photos: Photos) -> Features:
    """Return the features of all views of all images, `[n, N_VIEWS, d]`; the first is plain."""

    def compute() -> tuple[Features]:
        encoder = resolve_encoder(f"{photos.encoder}@views={N_VIEWS}")
        assert isinstance(encoder, ViewEncoder)
        encoder.load()
        parts = [
            encoder.embed_views(np.stack([encoder.prepare(image) for image in part]))
            for part in _batches(photos.images)
        ]
        return (np.concatenate(parts),)

    return _load_or_compute(photos, "views", compute)[0]


def encode_strips(photos: Photos) -> dict[float, dict[str, Features]]:
    """Return features of strips of the images, `[n, d]` each, by ratio and by way to resize.

    A strip has the full width and `1 / ratio` of the height, or the other way around, by chance.
    """
    rng = np.random.default_rng(0)

    def compute() -> tuple[Features, ...]:
        encoders = [resolve_encoder(f"{photos.encoder}@resize={way}") for way in WAYS]
        for encoder in encoders:
            encoder.load()
        strips = [[cut_strip(image, ratio, rng) for image in photos.images] for ratio in RATIOS]
        return tuple(_encode(encoder, images) for images in strips for encoder in encoders)

    features = iter(_load_or_compute(photos, "strips", compute))
    return {ratio: {way: next(features) for way in WAYS} for ratio in RATIOS}


def cut_strip(image: Image.Image, ratio: float, rng: np.random.Generator) -> Image.Image:
    """Return a strip of a square image; `ratio` is that of its sides."""
    side, short = image.width, round(image.height / ratio)
    start = int(rng.integers(0, side - short + 1))
    if rng.random() < 0.5:
        return image.crop((0, start, side, start + short))
    return image.crop((start, 0, start + short, side))


def _encode(encoder: Embeds, images: Sequence[Image.Image]) -> Features:
    parts = [encoder.embed(np.stack([encoder.prepare(i) for i in p])) for p in _batches(images)]
    return np.concatenate(parts)


def _batches(images: Sequence[Image.Image]) -> list[Sequence[Image.Image]]:
    return [images[i : i + BATCH_SIZE] for i in range(0, len(images), BATCH_SIZE)]


def _load_or_compute(
    photos: Photos, name: str, compute: Callable[[], tuple[Features, ...]]
) -> tuple[Features, ...]:
    if not photos.cache:
        return compute()
    return load_or_compute_arrays(f"{photos.cache}-{photos.encoder}-{name}", compute)
