"""Which images a network learnt from, so that none of them is judged by what it taught.

A diffusion classifier answers better on images that it was pretrained on with their labels than on
any others. So a pretraining can leave behind, beside the network of all images, K networks that
each left out one part of them; an image that was learnt from is judged by the one that never saw
it. Which part an image belongs to hangs on its pixels alone: two copies are in one part.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ilk.errors import ArtefactError
from ilk.training import checkpoint

FILE = "seen.safetensors"
BYTES = 8  # of a digest that are kept; two of a million images fall together once in 10^7 sets

Marks = NDArray[np.int64]


def marks(x: NDArray[np.uint8]) -> Marks:
    """The mark of each image `[n, c, h, w]`: the first 8 bytes of its pixels' SHA-256, `[n]`."""
    found = [_mark(hashlib.sha256(image.tobytes()).digest()) for image in x]
    return np.array(found, np.int64)


def file_marks(digests: Sequence[str]) -> Marks:
    """The marks of files by their hexadecimal digests, `[n]`."""
    return np.array([_mark(bytes.fromhex(digest)) for digest in digests], np.int64)


def _mark(digest: bytes) -> int:
    return int.from_bytes(digest[:BYTES], "little", signed=True)


@dataclass(frozen=True, eq=False)
class Seen:
    """What was learnt from with a label.

    Attributes:
        pixels: Marks of images as the network saw them, sorted.
        files: Marks of their files, sorted.
        folds: Networks that left a part out; 0 or at least 2.
    """

    pixels: Marks
    files: Marks
    folds: int = 0

    @classmethod
    def of(cls, x: NDArray[np.uint8], digests: Sequence[str], folds: int) -> Seen:
        """Of images `[n, c, h, w]` and the digests of their files."""
        return cls(np.unique(marks(x)), np.unique(file_marks(digests)), folds)

    def part(self, marks: Marks) -> NDArray[np.int64]:
        """The network to judge each image with: a part `0 … folds - 1`, or -1 for that of all."""
        if not self.folds:
            return np.full(len(marks), -1, np.int64)
        return np.where(np.isin(marks, self.pixels), part_of(marks, self.folds), -1)

    def fair(self, digests: Sequence[str]) -> NDArray[np.bool_]:
        """Whether each file can be judged by a network that did not learn from it, `[n]`."""
        if self.folds:
            return np.ones(len(digests), bool)
        return ~np.isin(file_marks(digests), self.files)

    def learnt(self, x: NDArray[np.uint8], digests: Sequence[str]) -> NDArray[np.bool_]:
        """Which images `[n, c, h, w]` were learnt from, by their pixels or their files, `[n]`."""
        by_file = np.isin(file_marks(digests), self.files)
        return by_file | np.isin(marks(x), self.pixels)

    def save(self, folder: Path) -> None:
        """Write it beside the network."""
        arrays = {"pixels": torch.from_numpy(self.pixels), "files": torch.from_numpy(self.files)}
        checkpoint.save(arrays, folder / FILE, {"folds": str(self.folds)})


def part_of(marks: Marks, folds: int) -> NDArray[np.int64]:
    """The part of each mark, `0 … folds - 1`."""
    return (marks.astype(np.uint64) % np.uint64(folds)).astype(np.int64)


def load(folder: Path) -> Seen:
    """What `save` wrote; nothing where nothing was.

    Raises:
        ArtefactError: The file is damaged.
    """
    if not (folder / FILE).exists():
        return Seen(np.zeros(0, np.int64), np.zeros(0, np.int64))
    arrays, told = checkpoint.load(folder / FILE)
    try:
        return Seen(arrays["pixels"].numpy(), arrays["files"].numpy(), int(told["folds"]))
    except (KeyError, ValueError):
        raise ArtefactError(f"{folder / FILE} is not what ilk writes; pretrain again") from None
