"""Real images as features of the embedded encoder."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np
from PIL import Image

from benchmarks.decoders import CIFAR_CLASSES, PACS_CLASSES
from benchmarks.shared_files import (
    decode_image,
    iterate_archive,
    load_or_compute_arrays,
    parse_idx,
    read_bytes,
)
from ilk.core.data import Data, Features, Labels
from ilk.encoders import resolve_encoder

BATCH_SIZE = 32
ENCODER = "efficientnet-lite0"
CIFAR_PER_CLASS = 240  # of the training part
CIFAR_TEST_PER_CLASS = 150
LETTERS_PER_CLASS = 300


def read_photos() -> Data:
    """Read the 210 photographs of PACS, 30 of each of 7 classes."""
    x, y = load_or_compute_arrays(f"label-pacs-{ENCODER}", _embed_photos)
    return Data(x, y, PACS_CLASSES)


def read_cifar() -> Data:
    """Read 3,900 images of CIFAR-10, recompressed as JPEG, 32 x 32 pixels."""
    x, y = load_or_compute_arrays(f"label-cifar-{ENCODER}", _embed_cifar)
    return Data(x, y, CIFAR_CLASSES)


def read_letters() -> Data:
    """Read 3,000 letters A to J of notMNIST, 28 x 28 pixels."""
    x, y = load_or_compute_arrays(f"label-letters-{ENCODER}", _embed_letters)
    return Data(x, y, tuple("ABCDEFGHIJ"))


def _embed_photos() -> tuple[Features, Labels]:
    files = iterate_archive("pacs_subset", "pacs_subset.tar.gz")
    return _embed(
        (decode_image(raw, "RGB"), PACS_CLASSES.index(name.split("/")[-2]))
        for name, raw in files
        if name.startswith("photo/")
    )


def _embed_cifar() -> tuple[Features, Labels]:
    def iterate() -> Iterator[tuple[Image.Image, int]]:
        counts: Counter[tuple[str, str]] = Counter()
        for name, raw in iterate_archive("cifar10_jpeg", "cifar10_jpeg.tar.gz"):
            part, label = name.split("/")[-3:-1]
            counts[part, label] += 1
            limit = CIFAR_PER_CLASS if part == "train" else CIFAR_TEST_PER_CLASS
            if counts[part, label] <= limit:
                yield decode_image(raw, "RGB"), CIFAR_CLASSES.index(label)

    return _embed(iterate())


def _embed_letters() -> tuple[Features, Labels]:
    x = parse_idx(gzip.decompress(read_bytes("notmnist_10k", "t10k-images-idx3-ubyte.gz")))
    y = parse_idx(gzip.decompress(read_bytes("notmnist_10k", "t10k-labels-idx1-ubyte.gz")))
    rows = np.concatenate([np.flatnonzero(y == c)[:LETTERS_PER_CLASS] for c in range(10)])
    return _embed((Image.fromarray(x[i]).convert("RGB"), int(y[i])) for i in rows)


def _embed(pairs: Iterable[tuple[Image.Image, int]]) -> tuple[Features, Labels]:
    """Return the features of images and their classes."""
    encoder = resolve_encoder(ENCODER)
    encoder.load()
    rows, batch, y = [], [], []
    for image, label in pairs:
        batch.append(encoder.prepare(image))
        y.append(label)
        if len(batch) == BATCH_SIZE:
            rows.append(encoder.embed(np.stack(batch)))
            batch = []
    if batch:
        rows.append(encoder.embed(np.stack(batch)))
    return np.concatenate(rows), np.array(y)
