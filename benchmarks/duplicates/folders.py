"""Folders of real pictures, with copies of some of them and the truth about every pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.duplicates.kinds import KINDS
from benchmarks.shared_files import decode_image, iterate_archive
from ilk.images import Images, read_images
from ilk.store import Store

SETS = {  # archive, parts of the path of which one must occur
    "PACS": ("pacs_subset", "pacs_subset.tar.gz", ("photo/", "art", "cartoon/", "sketch/")),
    "CIFAR-10": ("cifar10_jpeg", "cifar10_jpeg.tar.gz", ("test/",)),
    "Fashion-MNIST": ("fashion_mnist", "fashion_mnist_png.tar.gz", ("test/",)),
    "MNIST": ("mnist", "mnist_train_20k_png.tar.gz", ("train/",)),
    "MNIST, ones only": ("mnist", "mnist_train_20k_png.tar.gz", ("/1/",)),
}

Pair = tuple[int, int]


@dataclass(frozen=True)
class Folder:
    """A folder and what is true about it.

    Attributes:
        images: Its images, as ilk reads them.
        pictures: The pictures in the order of its rows.
        source: Which picture each row shows, `[n]`.
        kind: Kind of copy of each row; "" for originals.
    """

    images: Images
    pictures: Sequence[Image.Image]
    source: NDArray[np.int64]
    kind: tuple[str, ...]

    @property
    def true_pairs(self) -> set[Pair]:
        """Pairs of rows that show the same picture, the lower first."""
        members: dict[int, list[int]] = {}
        for row, source in enumerate(self.source.tolist()):
            members.setdefault(source, []).append(row)
        return {pair for rows in members.values() for pair in combinations(rows, 2)}


def read_raw(name: str) -> list[tuple[str, bytes]]:
    """Return path and bytes of every picture of a set."""
    folder, archive, parts = SETS[name]
    return [
        (path, raw)
        for path, raw in iterate_archive(folder, archive)
        if path.endswith((".png", ".jpg")) and any(part in path for part in parts)
    ]


def make_folder(
    raw: Sequence[tuple[str, bytes]], home: Path, n: int, n_copies: int, seed: int, store: Store
) -> Folder:
    """Write `n` pictures and `n_copies` of each kind to `home`, and read them."""
    rng = np.random.default_rng(seed)
    drawn = [decode_image(raw[i][1], "RGB") for i in rng.permutation(len(raw))[:n]]
    home.mkdir(parents=True)
    entries = [(picture, i, "") for i, picture in enumerate(drawn)]
    for kind, make in KINDS.items():
        for i in rng.permutation(n)[:n_copies].tolist():
            entries.append((make(drawn[i], rng), i, kind))
    truth = {}
    for position in rng.permutation(len(entries)).tolist():
        picture, source, kind = entries[position]
        name = f"{position:05}.png"
        picture.save(home / name)
        truth[name] = (picture, source, kind)
    images = read_images(home, store=store, verify=False)
    rows = [truth[row.path] for row in images.rows]
    return Folder(
        images,
        [picture for picture, _, _ in rows],
        np.array([source for _, source, _ in rows]),
        tuple(kind for _, _, kind in rows),
    )
