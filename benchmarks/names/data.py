"""Photographs as features of the embedded encoder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.decoders import CIFAR_CLASSES, PACS_CLASSES
from benchmarks.shared_files import decode_image, iterate_archive, load_or_compute_arrays
from ilk.core.data import Data, Features, Labels
from ilk.encoders import resolve_encoder

BATCH_SIZE = 32
CIFAR_PER_CLASS = 30  # of the test part, the first by name
ENCODER = "efficientnet-lite0"


def read_pacs(style: str, per_class: int = 30) -> Data:
    """Read the first images of each class of PACS in one of its styles."""
    name = f"pacs-{style}-{per_class}-{ENCODER}"
    x, y = load_or_compute_arrays(name, lambda: _embed_pacs(style, per_class))
    return Data(x, y, PACS_CLASSES)


def read_cifar() -> Data:
    """Read 300 test images of CIFAR-10, 32 x 32 pixels."""
    x, y = load_or_compute_arrays(f"cifar-{CIFAR_PER_CLASS}-{ENCODER}", _embed_cifar)
    return Data(x, y, CIFAR_CLASSES)


def _embed_pacs(style: str, per_class: int) -> tuple[Features, Labels]:
    files = iterate_archive("pacs_subset", "pacs_subset.tar.gz")
    files = (file for file in files if file[0].split("/")[-3:][0] == style)
    return _embed_first(files, PACS_CLASSES, per_class)


def _embed_cifar() -> tuple[Features, Labels]:
    files = iterate_archive("cifar10_jpeg", "cifar10_jpeg.tar.gz")
    files = (file for file in files if "test/" in file[0])
    return _embed_first(files, CIFAR_CLASSES, CIFAR_PER_CLASS)


def _embed_first(
    files: Iterator[tuple[str, bytes]], classes: Sequence[str], per_class: int
) -> tuple[Features, Labels]:
    """Return features and labels of the first images of each class, which is the folder's name."""
    encoder = resolve_encoder(ENCODER)
    pixels, y = [], []
    counts: Counter[str] = Counter()
    for name, raw in files:
        label = name.split("/")[-2]
        counts[label] += 1
        if counts[label] <= per_class:
            pixels.append(encoder.prepare(decode_image(raw, "RGB")))
            y.append(classes.index(label))
    batches = [pixels[i : i + BATCH_SIZE] for i in range(0, len(pixels), BATCH_SIZE)]
    return np.concatenate([encoder.embed(np.stack(batch)) for batch in batches]), np.array(y)
