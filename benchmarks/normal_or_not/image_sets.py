"""Sets of normal and anomalous images for `ilk detect fit`.

Textures are pictures of scikit-image's wheel (`pip install scikit-image`): brick, grass and `ihc`,
tissue under a microscope, 512 x 512, cut into 64 tiles that do not overlap; half are for training,
half for the test. Strips of PACS, Fashion-MNIST and CIFAR-10 are of the shared data.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks import datasets
from benchmarks.normal_or_not.defects import DEFECTS, Mask
from benchmarks.shared_files import iterate_archive
from benchmarks.whole_images.photos import cut_strip, read_pacs_images
from ilk.core.errors import Unavailable

TILE = 64
Pictures = Sequence[Image.Image]


@dataclass(frozen=True, eq=False)
class Draw:
    """Images of one seed.

    Attributes:
        train: Normal images to learn from.
        normal: Normal images of the test.
        anomalous: Anomalous images of the test.
        masks: Mask of each anomalous image; empty if they are anomalous as a whole.
    """

    train: Pictures
    normal: Pictures
    anomalous: Pictures
    masks: Sequence[Mask] = ()


def draw_texture(name: str, seed: int) -> Draw:
    """Return tiles of a texture; the anomalies are the tiles of the test with a defect each."""
    found = find_spec("skimage")
    if found is None or not found.submodule_search_locations:
        raise Unavailable("the textures come with scikit-image; install ilk[bench] for them")
    home = Path(next(iter(found.submodule_search_locations)))
    picture = Image.open(home / "data" / f"{name}.png").convert("RGB")
    tiles = [
        picture.crop((x, y, x + TILE, y + TILE))
        for y in range(0, picture.height - TILE + 1, TILE)
        for x in range(0, picture.width - TILE + 1, TILE)
    ]
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(tiles))
    half = len(tiles) // 2
    return _add_defects([tiles[i] for i in order[:half]], [tiles[i] for i in order[half:]], rng)


def draw_fashion_with_defects(seed: int) -> Draw:
    """Return Fashion-MNIST images of one class, enlarged; the anomalies have a defect each."""
    data = datasets.read_fashion("test")
    rng = np.random.default_rng(seed)
    rows = rng.permutation(np.flatnonzero(data.y == seed % 10))[:90]
    pictures = [_enlarge(data.x[i], 28) for i in rows]
    return _add_defects(pictures[:50], pictures[50:], rng)


def draw_fashion_classes(seed: int) -> Draw:
    """Return Fashion-MNIST images: one class is normal."""
    data = datasets.read_fashion("test")
    return _draw_classes(data.y, seed, lambda i: _enlarge(data.x[i], 28))


def draw_strips(seed: int) -> Draw:
    """Return strips of PACS images, three times as long as wide: one class is normal."""
    photos = read_pacs_images()
    cut = np.random.default_rng(seed)
    return _draw_classes(photos.y, seed, lambda i: cut_strip(photos.images[i], 3.0, cut), 70)


def draw_cifar_classes(seed: int) -> Draw:
    """Return CIFAR-10 images: one class is normal."""
    rows = [
        (name.split("/")[-2], raw)
        for name, raw in iterate_archive("cifar10_jpeg", "cifar10_jpeg.tar.gz")
        if "/test/" in f"/{name}"
    ]
    names = sorted({label for label, _ in rows})
    y = np.array([names.index(label) for label, _ in rows])
    return _draw_classes(y, seed, lambda i: Image.open(io.BytesIO(rows[i][1])).convert("RGB"))


def _draw_classes(
    y: NDArray[np.int64],
    seed: int,
    read: Callable[[int], Image.Image],
    n_train: int = 60,
    n_test: int = 40,
) -> Draw:
    rng = np.random.default_rng(seed)
    normal_class = seed % (int(y.max()) + 1)
    own = rng.permutation(np.flatnonzero(y == normal_class))[: n_train + n_test]
    other = rng.permutation(np.flatnonzero(y != normal_class))[:n_test]
    pictures = [read(int(i)) for i in own]
    return Draw(pictures[:n_train], pictures[n_train:], [read(int(i)) for i in other])


def _add_defects(train: Pictures, test: Pictures, rng: np.random.Generator) -> Draw:
    kinds = list(DEFECTS.values())
    pairs = [kinds[i % len(kinds)](picture, rng) for i, picture in enumerate(test)]
    return Draw(train, test, [picture for picture, _ in pairs], [mask for _, mask in pairs])


def _enlarge(pixels: NDArray[np.float32], side: int) -> Image.Image:
    grey = Image.fromarray((pixels.reshape(side, side) * 255).astype(np.uint8))
    return grey.convert("RGB").resize((4 * side, 4 * side), Image.Resampling.BICUBIC)
