"""Photos and pictures of PACS, and CIFAR-10 as JPEG files, as folders of images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.shared_files import iterate_archive
from ilk.images import Images, read_images
from ilk.store import Store

CIFAR_POOL, CIFAR_TEST = 40, 80  # images of each class that seeds draw from, and that are tested


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images on disk.

    Attributes:
        images: All of them, each with its label.
        kinds: Domain of each image, or `train` and `test`, `[n]`.
    """

    images: Images
    kinds: NDArray[np.str_]

    @property
    def y(self) -> NDArray[np.int64]:
        """Class of each image, `[n]`."""
        names = self.images.classes
        return np.array([names.index(str(row.label)) for row in self.images.rows], np.int64)

    def take(self, rows: NDArray[np.int64]) -> Images:
        """Return the images at positions `rows [m]`."""
        return replace(self.images, rows=tuple(self.images.rows[i] for i in rows))


def write_pacs(folder: Path, store: Store, per_class: int = 30) -> ImageSet:
    """Write PACS, up to `per_class` images of each class in each of 4 styles, to a folder."""
    files: dict[tuple[str, str], list[tuple[str, bytes]]] = {}
    for name, raw in iterate_archive("pacs_subset", "pacs_subset.tar.gz"):
        if name.endswith((".jpg", ".png")):
            style, label, file = name.split("/")[-3:]
            files.setdefault((style, label), []).append((file, raw))
    for (style, label), pairs in files.items():
        _write(folder / label, style, pairs[:per_class])
    return _read(folder, store)


def write_cifar(
    folder: Path, store: Store, pool: int = CIFAR_POOL, test: int = CIFAR_TEST
) -> ImageSet:
    """Write the first training and test images of each class of CIFAR-10 to a folder."""
    files: dict[tuple[str, str], list[tuple[str, bytes]]] = {}
    for name, raw in iterate_archive("cifar10_jpeg", "cifar10_jpeg.tar.gz"):
        if name.endswith(".jpg"):
            part = "train" if "train/" in name else "test"
            label, file = name.split("/")[-2:]
            pairs = files.setdefault((part, label), [])
            if len(pairs) < (pool if part == "train" else test):
                pairs.append((file, raw))
    for (part, label), pairs in files.items():
        _write(folder / label, part, pairs)
    return _read(folder, store)


def _write(folder: Path, kind: str, pairs: list[tuple[str, bytes]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for file, raw in pairs:
        (folder / f"{kind}-{file}").write_bytes(raw)


def _read(folder: Path, store: Store) -> ImageSet:
    images = read_images(folder, store=store)
    images = replace(images, rows=images.used)
    kinds = [Path(row.path).name.partition("-")[0] for row in images.rows]
    return ImageSet(images, np.array(kinds))
