"""Images and labels of each data set as arrays, decoded from the files of the shared data."""

from __future__ import annotations

import gzip
import zipfile
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.mobilenet import extract_features
from benchmarks.runner import shared_path
from benchmarks.shared_files import (
    Pixels,
    decode_image,
    iterate_archive,
    parse_idx,
    read_bytes,
)
from ilk.core.data import Features, Labels
from ilk.core.errors import Unavailable

CIFAR_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
PACS_CLASSES = ("dog", "elephant", "giraffe", "guitar", "horse", "house", "person")
PACS_STYLES = ("art_painting", "cartoon", "photo", "sketch")


def decode_mnist_train() -> tuple[Pixels, Labels]:
    """Return the 20,000 training images `[n, 28, 28]` and their labels."""
    pairs = [
        (np.asarray(decode_image(raw, "L")), int(name.split("/")[1]))
        for name, raw in iterate_archive("mnist", "mnist_train_20k_png.tar.gz")
        if name.endswith(".png")
    ]
    return np.stack([x for x, _ in pairs]), np.array([y for _, y in pairs])


def decode_mnist_test() -> tuple[Pixels, Labels]:
    """Return the official 10,000 test images `[n, 28, 28]` and their labels."""
    x = parse_idx(gzip.decompress(read_bytes("mnist", "t10k-images-idx3-ubyte.gz")))
    return x, parse_idx(read_bytes("mnist", "t10k-labels-idx1-ubyte")).astype(np.int64)


def decode_usps(part: str) -> tuple[Pixels, Labels]:
    """Return the images of a part, resized to 28 x 28, and their labels.

    Raises:
        Unavailable: If the package h5py is missing.
    """
    try:
        import h5py
    except ImportError:
        raise Unavailable("USPS is stored as HDF5; install h5py to read it") from None
    with h5py.File(shared_path("data", "usps", "usps.h5")) as file:
        x, y = np.asarray(file[part]["data"]), np.asarray(file[part]["target"])
    grey = (x.reshape(-1, 16, 16) * 255).round().astype(np.uint8)
    resized = [
        np.asarray(Image.fromarray(image).resize((28, 28), Image.Resampling.BILINEAR))
        for image in grey
    ]
    return np.stack(resized), y.astype(np.int64)


def decode_mnist_m() -> tuple[Pixels, Labels]:
    """Return the images as grey `[n, 28, 28]`, and their labels."""
    images, labels = {}, {}
    for name, raw in iterate_archive("mnist_m_2k", "mnist_m_2k.tar.gz"):
        if name.endswith(".png"):
            images[name.rpartition("/")[2]] = np.asarray(decode_image(raw, "L").resize((28, 28)))
        elif name.endswith(".txt"):
            labels = dict(line.split() for line in raw.decode().splitlines() if line.strip())
    labelled = [name for name in images if name in labels]
    return np.stack([images[n] for n in labelled]), np.array([int(labels[n]) for n in labelled])


def decode_fashion() -> tuple[NDArray[Any], ...]:
    """Return training images and labels, then test images and labels."""
    rows: dict[str, list[tuple[Pixels, int]]] = {"train": [], "test": []}
    for name, raw in iterate_archive("fashion_mnist", "fashion_mnist_png.tar.gz"):
        if name.endswith(".png"):
            part, label = name.split("/")[-3:-1]
            rows[part].append((np.asarray(decode_image(raw, "L")), int(label)))
    parts = (rows["train"], rows["test"])
    return tuple(np.array([row[i] for row in part]) for part in parts for i in (0, 1))


def embed_cifar(part: str) -> tuple[Features, Labels]:
    """Return MobileNetV2 features `[n, 1280]` of a part, and their labels."""
    names, images = [], []
    for name, raw in iterate_archive("cifar10_jpeg", "cifar10_jpeg.tar.gz"):
        if name.endswith(".jpg") and f"{part}/" in name:
            names.append(CIFAR_CLASSES.index(name.split("/")[-2]))
            images.append(np.asarray(decode_image(raw, "RGB")))
    return extract_features(np.stack(images)), np.array(names)


def embed_pacs() -> tuple[Features, Labels, Labels]:
    """Return MobileNetV2 features `[n, 1280]`, labels and styles."""
    rows = [
        (
            PACS_STYLES.index(name.split("/")[-3]),
            PACS_CLASSES.index(name.split("/")[-2]),
            decode_image(raw, "RGB"),
        )
        for name, raw in iterate_archive("pacs_subset", "pacs_subset.tar.gz")
        if name.endswith((".jpg", ".png"))
    ]
    x = extract_features([image for _, _, image in rows], size=224)
    return x, np.array([y for _, y, _ in rows]), np.array([d for d, _, _ in rows])


def decode_omniglot(part: int) -> tuple[Pixels, Labels, Labels]:
    """Return the images `[n, 28, 28]` of a small set with ink 255, characters and alphabets."""
    path = shared_path("data", "omniglot_small", f"images_background_small{part}.zip")
    with zipfile.ZipFile(path) as archive:
        names = sorted(n for n in archive.namelist() if n.endswith(".png"))
        x = [255 - np.asarray(decode_image(archive.read(n), "L").resize((28, 28))) for n in names]
    characters, alphabets = ([n.split("/")[i] for n in names] for i in (2, 1))
    full_names = [f"{a}/{c}" for a, c in zip(alphabets, characters, strict=True)]
    y, domain = (np.unique(v, return_inverse=True)[1] for v in (full_names, alphabets))
    return np.stack(x), y.astype(np.int64), domain.astype(np.int64)
