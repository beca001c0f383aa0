"""Record which images a network was trained on, to classify each with a network that excluded it.

A diffusion classifier is more accurate on labelled images of its own pretraining than on others.
So pretraining can save K additional networks, each trained without one fold, next to the network
trained on all images; a training image is classified by the network that excluded its fold. The
fold depends on the pixels only, so that two copies of an image are in the same fold.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ilk.core.errors import ArtifactError
from ilk.diffusion.checkpoint.companions import read_entry
from ilk.training import checkpoint

FILE = "training_images.safetensors"
ENTRY = "training_images"  # in the description of the model: the digest of this record
MAX_FOLDS = 10_000
DIGEST_BYTES = 8  # two of a million images collide with probability 3e-8

Hashes = NDArray[np.int64]


def hash_images(x: NDArray[np.uint8]) -> Hashes:
    """Return the first 8 bytes of the SHA-256 of each image `[n, c, h, w]`, `[n]`."""
    hashes = [_truncate_digest(hashlib.sha256(image.tobytes()).digest()) for image in x]
    return np.array(hashes, np.int64)


def hash_files(digests: Sequence[str]) -> Hashes:
    """Return the first 8 bytes of hexadecimal file digests, `[n]`."""
    return np.array([_truncate_digest(bytes.fromhex(digest)) for digest in digests], np.int64)


def _truncate_digest(digest: bytes) -> int:
    return int.from_bytes(digest[:DIGEST_BYTES], "little", signed=True)


@dataclass(frozen=True, eq=False)
class TrainingImages:
    """The labelled images of a pretraining run.

    Attributes:
        pixel_hashes: Hashes of the images as the network takes them, sorted, `[m]`.
        file_hashes: Hashes of their files, sorted, `[m]`.
        folds: Number of networks trained without one fold each; 0 or at least 2.
    """

    pixel_hashes: Hashes
    file_hashes: Hashes
    folds: int = 0

    @classmethod
    def from_images(
        cls, x: NDArray[np.uint8], digests: Sequence[str], folds: int
    ) -> TrainingImages:
        """Record images `[n, c, h, w]` and the digests of their files."""
        return cls(np.unique(hash_images(x)), np.unique(hash_files(digests)), folds)

    def find_held_out_fold(self, hashes: Hashes) -> NDArray[np.int64]:
        """Return the fold `[n]` of each hash `[n]`; -1 for images not trained on."""
        if not self.folds:
            return np.full(len(hashes), -1, np.int64)
        return np.where(np.isin(hashes, self.pixel_hashes), assign_folds(hashes, self.folds), -1)

    def is_held_out(self, digests: Sequence[str]) -> NDArray[np.bool_]:
        """Return whether each file has a network that excluded it, `[n]`."""
        if self.folds:
            return np.ones(len(digests), bool)
        return ~np.isin(hash_files(digests), self.file_hashes)

    def is_training_image(self, x: NDArray[np.uint8], digests: Sequence[str]) -> NDArray[np.bool_]:
        """Return which images `[n, c, h, w]` were trained on, by pixels or files, `[n]`."""
        by_file = np.isin(hash_files(digests), self.file_hashes)
        return by_file | np.isin(hash_images(x), self.pixel_hashes)

    def save(self, folder: Path) -> None:
        """Write the record to the folder of the network."""
        arrays = {
            "pixels": torch.from_numpy(self.pixel_hashes),
            "files": torch.from_numpy(self.file_hashes),
        }
        checkpoint.save(arrays, folder / FILE, {"folds": str(self.folds)})


def assign_folds(hashes: Hashes, folds: int) -> NDArray[np.int64]:
    """Return the fold of each hash `[n]`, from 0 to `folds - 1`."""
    return (hashes.astype(np.uint64) % np.uint64(folds)).astype(np.int64)


def read_digest(folder: Path) -> str | None:
    """Return the digest of the record; None if there is no file.

    Raises:
        ArtifactError: The file is damaged.
    """
    if not (folder / FILE).exists():
        return None
    return checkpoint.load(folder / FILE)[1][checkpoint.DIGEST_KEY]


def load(folder: Path) -> TrainingImages:
    """Load the record; an empty one if there is no file.

    Raises:
        ArtifactError: The file is damaged, or not the one that the model was saved with.
    """
    recorded = read_entry(folder, ENTRY)
    if not (folder / FILE).exists():
        if recorded is not None:
            raise ArtifactError(f"{folder / FILE} is missing; pretrain again")
        return TrainingImages(np.zeros(0, np.int64), np.zeros(0, np.int64))
    arrays, metadata = checkpoint.load(folder / FILE)
    if recorded is not None and recorded != metadata[checkpoint.DIGEST_KEY]:
        raise ArtifactError(f"{folder / FILE} belongs to another model; pretrain again")
    try:
        pixels, files, folds = arrays["pixels"], arrays["files"], int(metadata["folds"])
        if not (pixels.dtype == files.dtype == torch.int64 and pixels.dim() == files.dim() == 1):
            raise ValueError("the hashes are no vectors of whole numbers")
        if not 0 <= folds <= MAX_FOLDS:
            raise ValueError("folds")
        return TrainingImages(pixels.numpy(), files.numpy(), folds)
    except (KeyError, ValueError):
        raise ArtifactError(f"{folder / FILE} was not written by ilk; pretrain again") from None
