"""The nearest training images, from a file beside the model.

`ilk fit` writes `neighbours.safetensors`: features (float16), labels, paths, digests and small JPEG
pictures of a bounded number of training images, balanced over classes. Its digest stands in
`model.json`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Features
from ilk.core.errors import ArtifactError
from ilk.core.regular_file import read_regular_file

FILE = "neighbours.safetensors"
ENTRY = "neighbours"  # of the model's description: `{"sha256": ...}`
VERSION = 1
LABEL_SEPARATOR = "; "  # between the labels of an image with several


@dataclass(frozen=True)
class Neighbour:
    """A training image that is near an image.

    Attributes:
        label: Its label; of an image with several, all of them.
        path: Its path when the model was fitted.
        similarity: Cosine of the features after the mean of all training images is taken away, in
            [-1, 1].
        digest: Digest of its file.
        thumbnail: Its picture as JPEG; empty if none is kept.
    """

    label: str
    path: str
    similarity: float
    digest: str
    thumbnail: bytes = b""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, without the picture."""
        return {
            "label": self.label,
            "path": self.path,
            "similarity": self.similarity,
            "digest": self.digest,
        }


@dataclass(frozen=True, eq=False)
class NeighbourIndex:
    """Features of training images.

    Attributes:
        features: `[n, d]` float16.
        labels: Label of each image.
        paths: Path of each image.
        digests: Digest of the file of each image.
        thumbnails: JPEG of each image, empty where none is kept.
        space: Key of the feature space; the index is of no use to another encoder.
    """

    features: NDArray[np.float16]
    labels: tuple[str, ...]
    paths: tuple[str, ...]
    digests: tuple[str, ...]
    thumbnails: tuple[bytes, ...]
    space: str

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def _centre(self) -> NDArray[np.float32]:
        return np.asarray(self.features.astype(np.float32).mean(0))

    @cached_property
    def _unit(self) -> NDArray[np.float32]:
        return normalize(self.features.astype(np.float32) - self._centre)

    def compute_similarity(self, x: Features) -> NDArray[np.float32]:
        """Return the similarity of rows `[m, d]` to all training images, `[m, n]` in [-1, 1]."""
        return np.asarray(normalize(np.asarray(x, np.float32) - self._centre) @ self._unit.T)

    def find(self, features: Features, n: int = 5) -> tuple[Neighbour, ...]:
        """Return the `n` training images that are nearest to features `[d]`, nearest first."""
        similarity = self.compute_similarity(np.asarray(features)[None])[0]
        order = np.argsort(-similarity, kind="stable")[:n]
        return tuple(self.get(int(i), float(similarity[i])) for i in order)

    def get(self, i: int, similarity: float = 1.0) -> Neighbour:
        """Return image number `i`."""
        return Neighbour(
            self.labels[i], self.paths[i], similarity, self.digests[i], self.thumbnails[i]
        )

    def take(self, rows: Sequence[int]) -> NeighbourIndex:
        """Return the index of some of the images, by number."""

        def select(values: tuple[Any, ...]) -> tuple[Any, ...]:
            return tuple(values[i] for i in rows)

        return NeighbourIndex(
            self.features[np.asarray(rows, np.int64)],
            select(self.labels),
            select(self.paths),
            select(self.digests),
            select(self.thumbnails),
            self.space,
        )

    def has_label(self, name: str) -> NDArray[np.bool_]:
        """Return which images have a label, alone or among others, `[n]`."""
        return np.array([name in label.split(LABEL_SEPARATOR) for label in self.labels], np.bool_)

    def read_thumbnail(self, digest: str) -> bytes:
        """Return the JPEG of the image with a digest; empty if none is kept."""
        if digest not in self._rows:
            return b""
        return self.thumbnails[self._rows[digest]]

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {digest: i for i, digest in enumerate(self.digests)}

    def to_bytes(self) -> bytes:
        """Return the content of the file."""
        from safetensors.numpy import save

        ends = np.cumsum([len(t) for t in self.thumbnails], dtype=np.int64)
        pictures = np.frombuffer(b"".join(self.thumbnails), np.uint8)
        described = {
            "version": VERSION,
            "space": self.space,
            "rows": [list(self.labels), list(self.paths), list(self.digests)],
        }
        tensors = {
            "features": np.ascontiguousarray(self.features),
            "thumbnail_ends": ends,
            "thumbnails": pictures.copy(),
        }
        # One entry, because safetensors writes several in an order that changes.
        return bytes(save(tensors, metadata={ENTRY: json.dumps(described)}))

    @classmethod
    def from_bytes(cls, content: bytes) -> NeighbourIndex:
        """Return the index that `to_bytes` wrote.

        Raises:
            ValueError: The content is not such a file, or its parts do not fit each other.
        """
        from safetensors.numpy import load

        length = int.from_bytes(content[:8], "little")
        if not 0 < length <= len(content) - 8:
            raise ValueError("it has no header")
        described = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][ENTRY])
        if described["version"] != VERSION:
            raise ValueError("it is of another version")
        labels, paths, digests = (tuple(map(str, v)) for v in described["rows"])
        tensors = load(content)
        features, ends = tensors["features"], tensors["thumbnail_ends"]
        pictures = tensors["thumbnails"].tobytes()
        starts = np.concatenate([[0], ends[:-1]]).astype(np.int64)
        if features.ndim != 2 or not (
            len(features) == len(labels) == len(paths) == len(digests) == len(ends)
        ):
            raise ValueError("its rows do not match")
        if (np.diff(ends, prepend=0) < 0).any() or (len(ends) and ends[-1] != len(pictures)):
            raise ValueError("its pictures do not match")
        thumbnails = tuple(pictures[a:b] for a, b in zip(starts, ends, strict=True))
        return cls(features, labels, paths, digests, thumbnails, str(described["space"]))

    @classmethod
    def load(cls, model_folder: str | Path, sha256: str = "") -> NeighbourIndex | None:
        """Return the index in a model folder; None if the model keeps none.

        Args:
            model_folder: Folder of the model.
            sha256: Digest of the file; by default what the description of the model says.

        Raises:
            ArtifactError: The file is damaged, or is not the one that the model was saved with.
        """
        path = Path(model_folder) / FILE
        expected = sha256 or _read_expected_digest(Path(model_folder))
        if not expected or not path.is_file():
            return None
        try:
            content = read_regular_file(path)
            if hashlib.sha256(content).hexdigest() != expected:
                raise ValueError("it is not the file that the model was saved with")
            return cls.from_bytes(content)
        except (OSError, ValueError, LookupError, TypeError, ArithmeticError) as error:
            why = " ".join(str(error).split())[:200]
            raise ArtifactError(
                f"{path} cannot be read ({why}); fit the model again, or remove the file to do "
                "without the nearest training images"
            ) from None
        except Exception as error:  # safetensors' own, which is no ValueError
            raise ArtifactError(
                f"{path} is damaged ({type(error).__name__}); fit the model again, or remove the "
                "file to do without the nearest training images"
            ) from None


@dataclass(frozen=True, eq=False)
class HeldIndex:
    """An index in memory, as a classifier that was just fitted has it."""

    index: NeighbourIndex

    def __call__(self) -> NeighbourIndex:
        """Return the index."""
        return self.index


@lru_cache(maxsize=2)
def load_index(folder: str, sha256: str) -> NeighbourIndex | None:
    """Return the index of a digest in a model folder, read once; see `NeighbourIndex.load`."""
    return NeighbourIndex.load(folder, sha256)


def _read_expected_digest(folder: Path) -> str:
    try:
        entry = json.loads(read_regular_file(folder / "model.json")).get(ENTRY)
        return str(entry["sha256"]) if entry else ""
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return ""


def normalize(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return rows `[n, d]` of length 1; rows of zeros stay."""
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return np.asarray(x / np.where(length > 0, length, 1), np.float32)
