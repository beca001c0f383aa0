"""Photographs as features of the embedded encoder."""

from __future__ import annotations

from collections import Counter

import numpy as np
from PIL import Image

from benchmarks.decoders import CIFAR_CLASSES, PACS_CLASSES, PACS_STYLES
from benchmarks.shared_files import decode_image, iterate_archive, load_or_compute_arrays
from ilk.core.data import Data, Features, Labels
from ilk.encoders import resolve_encoder

BATCH_SIZE = 32
CIFAR_PER_CLASS = 100  # of the test part, the first by name
ENCODER = "efficientnet-lite0"


def read_pacs(*styles: str) -> Data:
    """Read PACS in some of its styles; `domain` is the style."""
    x, y, style = load_or_compute_arrays(f"pacs-{ENCODER}", _embed_pacs)
    data = Data(x, y, PACS_CLASSES, domain=style)
    return data.take(np.isin(style, [PACS_STYLES.index(name) for name in styles]))


def read_cifar() -> Data:
    """Read 1,000 test images of CIFAR-10, 32 x 32 pixels."""
    x, y = load_or_compute_arrays(f"cifar-1000-{ENCODER}", _embed_cifar)
    return Data(x, y, CIFAR_CLASSES)


def _embed_pacs() -> tuple[Features, Labels, Labels]:
    images, y, style = [], [], []
    for name, raw in iterate_archive("pacs_subset", "pacs_subset.tar.gz"):
        if name.endswith((".jpg", ".png")):
            style.append(PACS_STYLES.index(name.split("/")[-3]))
            y.append(PACS_CLASSES.index(name.split("/")[-2]))
            images.append(decode_image(raw, "RGB"))
    return _embed(images), np.array(y), np.array(style)


def _embed_cifar() -> tuple[Features, Labels]:
    images, y = [], []
    counts: Counter[str] = Counter()
    for name, raw in iterate_archive("cifar10_jpeg", "cifar10_jpeg.tar.gz"):
        if not (name.endswith(".jpg") and "test/" in name):
            continue
        label = name.split("/")[-2]
        counts[label] += 1
        if counts[label] <= CIFAR_PER_CLASS:
            images.append(decode_image(raw, "RGB"))
            y.append(CIFAR_CLASSES.index(label))
    return _embed(images), np.array(y)


def _embed(images: list[Image.Image]) -> Features:
    encoder = resolve_encoder(ENCODER)
    batches = [images[i : i + BATCH_SIZE] for i in range(0, len(images), BATCH_SIZE)]
    return np.concatenate(
        [encoder.embed(np.stack([encoder.prepare(image) for image in part])) for part in batches]
    )
