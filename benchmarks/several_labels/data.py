"""Images to which several labels apply: two pictures side by side, from disjoint sources."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.decoders import (
    PACS_CLASSES,
    decode_mnist_test,
    decode_mnist_train,
)
from benchmarks.mobilenet import extract_features
from benchmarks.shared_files import decode_image, iterate_archive
from ilk.core.data import Features
from ilk.maths.iterative_stratification import Targets

SIDE = 112  # pixels of one photograph

Pictures = list[Image.Image]


@dataclass(frozen=True, eq=False)
class Part:
    """Features `[n, d]` of composite images, and whether each label applies, `[n, k]`."""

    x: Features
    targets: Targets


@dataclass(frozen=True, eq=False)
class Draw:
    """Training and test images of one split, and the names of the labels."""

    train: Part
    test: Part
    labels: tuple[str, ...]


def draw_composites(
    pictures: Pictures, y: NDArray[np.int64], k: int, n: int, rng: np.random.Generator
) -> tuple[Pictures, Targets]:
    """Return `n` composites of two places, each filled with probability 0.8, and their labels.

    Args:
        pictures: Pictures of equal size.
        y: Class of each, `[m]`.
        k: Number of classes.
        n: Number of composites.
        rng: Random number generator.
    """
    width, height = pictures[0].size
    composites, targets = [], np.zeros((n, k), bool)
    for i in range(n):
        canvas = Image.new(pictures[0].mode, (2 * width, height))
        for place in range(2):
            if rng.random() < 0.8:
                j = int(rng.integers(len(pictures)))
                canvas.paste(pictures[j], (place * width, 0))
                targets[i, y[j]] = True
        composites.append(canvas)
    return composites, targets


def draw_digits(seed: int, n_train: int, n_test: int) -> Draw:
    """Return pairs of scikit-learn's digits, as pixels."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pictures = [Image.fromarray(np.uint8(image * 15)) for image in bunch.images]
    return _split_sources(pictures, bunch.target, tuple("0123456789"), seed, n_train, n_test, _flat)


def draw_mnist(seed: int, n_train: int, n_test: int) -> Draw:
    """Return pairs of MNIST digits through HOG; test digits are from the official test set."""
    from ilk.encoders.hog import open_encoder
    from ilk.encoders.options import EncoderOptions

    encoder = open_encoder("hog", EncoderOptions())
    parts = []
    for part, (load, n) in enumerate(((decode_mnist_train, n_train), (decode_mnist_test, n_test))):
        x, y = load()
        rng = np.random.default_rng([seed, part])
        rows = rng.permutation(len(x))[:5_000]
        pictures = [Image.fromarray(x[i].reshape(28, 28)) for i in rows]
        composites, targets = draw_composites(pictures, y[rows].astype(np.int64), 10, n, rng)
        prepared = np.stack([encoder.prepare(one.convert("RGB")) for one in composites])
        parts.append(Part(np.asarray(encoder.embed(prepared), np.float32), targets))
    return Draw(parts[0], parts[1], tuple("0123456789"))


def draw_pacs(seed: int, n_train: int, n_test: int) -> Draw:
    """Return pairs of PACS pictures of all styles, through MobileNetV2."""
    rows = [
        (PACS_CLASSES.index(name.split("/")[-2]), decode_image(raw, "RGB").resize((SIDE, SIDE)))
        for name, raw in iterate_archive("pacs_subset", "pacs_subset.tar.gz")
        if name.endswith((".jpg", ".png"))
    ]
    y = np.array([label for label, _ in rows])
    pictures = [picture for _, picture in rows]
    return _split_sources(pictures, y, PACS_CLASSES, seed, n_train, n_test, extract_features)


def _flat(images: Pictures) -> Features:
    return np.stack([np.asarray(image, np.float32).ravel() / 255 for image in images])


def _split_sources(
    pictures: Pictures,
    y: NDArray[np.int64],
    labels: tuple[str, ...],
    seed: int,
    n_train: int,
    n_test: int,
    embed: Callable[[Pictures], Features],
) -> Draw:
    """Return composites whose training and test parts share no picture."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(pictures))
    parts = []
    for rows, n in ((order[::2], n_train), (order[1::2], n_test)):
        own = [pictures[i] for i in rows]
        composites, targets = draw_composites(own, y[rows], len(labels), n, rng)
        parts.append(Part(embed(composites), targets))
    return Draw(parts[0], parts[1], labels)
