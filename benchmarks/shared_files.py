"""Files of the shared data: archives, images, IDX arrays, and a cache of arrays made from them."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.diffusion_setup import get_cache_dir
from benchmarks.runner import shared_path
from ilk.core.atomic_write import write_atomically

Pixels = NDArray[np.uint8]


def load_or_compute_arrays(
    name: str, compute: Callable[[], tuple[NDArray[Any], ...]]
) -> tuple[NDArray[Any], ...]:
    """Return the arrays of `compute`, from the cache if they are there."""
    path = get_cache_dir() / "sets" / f"{name}.npz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        np.savez(buffer, *compute())
        write_atomically(path, buffer.getvalue())
    arrays = np.load(path)
    return tuple(arrays[f"arr_{i}"] for i in range(len(arrays.files)))


def read_bytes(*parts: str) -> bytes:
    """Return the bytes of a file of the shared data."""
    return shared_path("data", *parts).read_bytes()


def parse_idx(raw: bytes) -> Pixels:
    """Parse an array in MNIST's IDX format: bytes after a header with the shape."""
    axes = raw[3]
    shape = tuple(int.from_bytes(raw[4 + 4 * i : 8 + 4 * i], "big") for i in range(axes))
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * axes).reshape(shape)


def iterate_archive(*parts: str) -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of every file of an archive, sorted by name."""
    with tarfile.open(shared_path("data", *parts)) as archive:
        for member in sorted((m for m in archive if m.isfile()), key=lambda m: m.name):
            file = archive.extractfile(member)
            assert file is not None, "a plain file always opens"
            yield member.name, file.read()


def decode_image(raw: bytes, mode: str) -> Image.Image:
    """Return an image in a mode of PIL, such as "L" or "RGB"."""
    return Image.open(io.BytesIO(raw)).convert(mode)
