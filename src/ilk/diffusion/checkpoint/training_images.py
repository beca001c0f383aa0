"""Record which images a network was trained on, to classify each with a network that excluded it.

A diffusion classifier is more accurate on labelled images of its own pretraining than on others.
So pretraining can save K additional networks, each trained without one fold, next to the network
trained on all images; a training image is classified by the network that excluded its fold. The
fold depends on the pixels only, so that two copies of an image are in the same fold. Images of one
group (a patient, a video) are in the same fold, too: it depends on the pixels of all of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ilk.core.errors import ArtifactError
from ilk.diffusion.denoiser.companions import read_entry
from ilk.maths.folds import number_groups
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
        pixel_folds: Fold of each of `pixel_hashes`, `[m]`; empty where it follows from the hash.
        file_folds: Fold of each of `file_hashes`, `[m]`; empty as `pixel_folds`.
    """

    pixel_hashes: Hashes
    file_hashes: Hashes
    folds: int = 0
    pixel_folds: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    file_folds: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    @classmethod
    def from_images(
        cls,
        x: NDArray[np.uint8],
        digests: Sequence[str],
        folds: int,
        fold_ids: NDArray[np.int64] | None = None,
    ) -> TrainingImages:
        """Record images `[n, c, h, w]`, the digests of their files and, with groups, their folds.

        Args:
            x: Images as the network takes them, `[n, c, h, w]`.
            digests: Digests of their files.
            folds: Number of networks trained without one fold each.
            fold_ids: Fold of each image, `[n]`, as `assign_folds` returns it for groups; None where
                it follows from the pixels alone.
        """
        return cls.from_hashes(hash_images(x), digests, folds, fold_ids)

    @classmethod
    def from_hashes(
        cls,
        hashes: Hashes,
        digests: Sequence[str],
        folds: int,
        fold_ids: NDArray[np.int64] | None = None,
    ) -> TrainingImages:
        """As `from_images`, of the hashes `[n]` of the images."""
        pixels, first_pixel = np.unique(hashes, return_index=True)
        files, first_file = np.unique(hash_files(digests), return_index=True)
        if fold_ids is None or not folds:
            return cls(pixels, files, folds)
        return cls(pixels, files, folds, fold_ids[first_pixel], fold_ids[first_file])

    def has_same_folds(self, other: TrainingImages) -> bool:
        """Whether two records are of the same pixels, each in the same fold; files may differ."""
        return (
            self.folds == other.folds
            and np.array_equal(self.pixel_hashes, other.pixel_hashes)
            and np.array_equal(self.pixel_folds, other.pixel_folds)
        )

    def find_held_out_fold(self, hashes: Hashes) -> NDArray[np.int64]:
        """Return the fold `[n]` of each hash `[n]`; -1 for images not trained on."""
        if not self.folds:
            return np.full(len(hashes), -1, np.int64)
        is_known = np.isin(hashes, self.pixel_hashes)
        if not len(self.pixel_folds):
            return np.where(is_known, assign_folds(hashes, self.folds), -1)
        return np.where(is_known, _look_up(hashes, self.pixel_hashes, self.pixel_folds), -1)

    def is_held_out(
        self, digests: Sequence[str], groups: NDArray[np.int64] | None = None
    ) -> NDArray[np.bool_]:
        """Return whether each file has a network that excluded it and its group, `[n]`.

        Args:
            digests: Digests of the files.
            groups: Group of each file, `[n]`, -1 for a group of its own; None makes every file one.
        """
        hashes = hash_files(digests)
        is_known = np.isin(hashes, self.file_hashes)
        is_fair = np.ones(len(hashes), bool) if self.folds else ~is_known
        if groups is None:
            return is_fair
        fold = np.where(is_known, np.arange(len(hashes)), -1)  # unless known, each has another
        if len(self.file_folds):
            fold = np.where(is_known, _look_up(hashes, self.file_hashes, self.file_folds), -1)
        for g in np.unique(groups[is_known & (groups >= 0)]):
            rows = groups == g
            if not self.folds or len(np.unique(fold[rows])) > 1:
                is_fair[rows] = False
        return is_fair

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
        if len(self.pixel_folds):
            arrays["pixel_folds"] = torch.from_numpy(self.pixel_folds)
            arrays["file_folds"] = torch.from_numpy(self.file_folds)
        checkpoint.save(arrays, folder / FILE, {"folds": str(self.folds)})


def assign_folds(
    hashes: Hashes, folds: int, groups: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """Return the fold of each image, `[n]`, from 0 to `folds - 1`.

    Args:
        hashes: Hash of each image, `[n]`.
        folds: Number of folds.
        groups: Group of each image, `[n]`, -1 for a group of its own; a group is in one fold, with
            all groups that have an image with the same hash. None makes every image one.
    """
    keys = hashes if groups is None or not (groups >= 0).any() else _link_groups(hashes, groups)
    return (keys.astype(np.uint64) % np.uint64(folds)).astype(np.int64)


def _link_groups(hashes: Hashes, groups: NDArray[np.int64]) -> Hashes:
    """Return the least hash of all images that hashes and groups connect with each, `[n]`."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    pixel = np.unique(hashes, return_inverse=True)[1]
    group = len(hashes) + number_groups(groups)
    size = len(hashes) + len(np.unique(group))
    ones = np.ones(len(hashes), np.int8)
    component = connected_components(coo_array((ones, (pixel, group)), shape=(size, size)))[1]
    least = np.full(int(component.max()) + 1, np.iinfo(np.int64).max)
    np.minimum.at(least, component[pixel], hashes)
    return np.asarray(least[component[pixel]])


def _look_up(hashes: Hashes, known: Hashes, values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the value of each hash `[n]` that is among `known [m]`, sorted; any for others."""
    place = np.searchsorted(known, hashes)
    return np.asarray(values[np.minimum(place, len(known) - 1)])


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
        none = torch.zeros(0, dtype=torch.int64)
        vectors = [arrays["pixels"], arrays["files"]]
        vectors += [arrays.get(name, none) for name in ("pixel_folds", "file_folds")]
        if not all(v.dtype == torch.int64 and v.dim() == 1 for v in vectors):
            raise ValueError("the hashes are not vectors of whole numbers")
        folds = int(metadata["folds"])
        if not 0 <= folds <= MAX_FOLDS:
            raise ValueError("folds")
        pixels, files, pixel_folds, file_folds = (v.numpy() for v in vectors)
        return TrainingImages(pixels, files, folds, pixel_folds, file_folds)
    except (KeyError, ValueError):
        raise ArtifactError(f"{folder / FILE} was not written by ilk; pretrain again") from None
