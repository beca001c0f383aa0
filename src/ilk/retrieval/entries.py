"""What an index knows of each image besides its features: id, digest, paths and label.

The id of an image belongs to its content: the same bytes have the same id wherever they lie, as
long as they are in the index. Ids ascend, and an id that was deleted is never given again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.maths.top_k import Ids

LABEL_SEPARATOR = "; "


@dataclass(frozen=True, slots=True)
class Entry:
    """One image.

    Attributes:
        digest: SHA-256 of its bytes, hex.
        path: Its path, as shown.
        label: Its label; of several, joined by "; "; "" if unknown.
        others: Paths of other files with the same bytes.
    """

    digest: str
    path: str
    label: str = ""
    others: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Its labels."""
        return tuple(self.label.split(LABEL_SEPARATOR)) if self.label else ()


@dataclass
class Entries:
    """The images of an index.

    Attributes:
        by_id: Images by id, in the order of ids.
        next_id: The next id to be given.
        deleted: Ids that were deleted and whose rows may still lie in files.
    """

    by_id: dict[int, Entry] = field(default_factory=dict)
    next_id: int = 0
    deleted: list[int] = field(default_factory=list)
    _ids: dict[str, int] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self._ids = {entry.digest: i for i, entry in self.by_id.items()}

    def __len__(self) -> int:
        return len(self.by_id)

    def find(self, digest: str) -> int | None:
        """Return the id of the image with a digest, None if it is not there."""
        return self._ids.get(digest)

    def list_digests(self) -> frozenset[str]:
        """Return the digests of all images."""
        return frozenset(self._ids)

    def add(self, entries: Iterable[Entry]) -> Ids:
        """Add images, which must not be there yet, and return their ids `[m]`.

        Raises:
            ValueError: One of them is there already.
        """
        first = self.next_id
        for entry in entries:
            if entry.digest in self._ids:
                raise ValueError(f"{entry.path} is in the index already")
            self.by_id[self.next_id] = entry
            self._ids[entry.digest] = self.next_id
            self.next_id += 1
        return np.arange(first, self.next_id, dtype=np.int64)

    def delete(self, ids: Iterable[int]) -> None:
        """Delete images by id; unknown ids are ignored."""
        for i in map(int, ids):
            entry = self.by_id.pop(i, None)
            if entry is not None:
                del self._ids[entry.digest]
                self.deleted.append(i)

    def replace(self, i: int, entry: Entry) -> None:
        """Change path and label of an image, whose content stays."""
        self.by_id[i] = entry

    def list_ids(self) -> Ids:
        """Return all ids, `[n]`, ascending."""
        return np.fromiter(self.by_id, np.int64, len(self.by_id))

    def find_class(self, name: str) -> Ids:
        """Return the ids `[m]` of the images with a label, alone or among others."""
        return np.array([i for i, e in self.by_id.items() if name in e.names], np.int64)

    def find_labelled(self) -> Ids:
        """Return the ids `[m]` of the images that have a label."""
        return np.array([i for i, e in self.by_id.items() if e.label], np.int64)

    def list_classes(self) -> list[str]:
        """Return all labels, sorted."""
        return sorted({name for e in self.by_id.values() for name in e.names})

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the images as arrays for a file: ids `[n]`, digests `[n, 32]` and others."""
        rows = list(self.by_id.values())
        texts = [[e.path, e.label, *e.others] for e in rows]
        digests = b"".join(bytes.fromhex(e.digest) for e in rows)
        return {
            "ids": self.list_ids(),
            "deleted": np.array(self.deleted, np.int64),
            "digests": np.frombuffer(digests, np.uint8).reshape(len(rows), -1).copy(),
            "texts": np.frombuffer(json.dumps(texts).encode(), np.uint8).copy(),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], next_id: int) -> Entries:
        """Return the images of `to_arrays`, ids `[n]` ascending and below `next_id`.

        Raises:
            ValueError: The arrays do not fit each other.
            KeyError: An array is missing.
        """
        ids, digests = arrays["ids"].tolist(), arrays["digests"]
        texts = json.loads(arrays["texts"].tobytes())
        if not len(ids) == len(digests) == len(texts):
            raise ValueError("its entries do not match")
        if sorted(set(ids)) != ids or (ids and not 0 <= ids[0] <= ids[-1] < next_id):
            raise ValueError("its ids are not in order")
        by_id = {
            i: Entry(digest.tobytes().hex(), str(text[0]), str(text[1]), tuple(map(str, text[2:])))
            for i, digest, text in zip(ids, digests, texts, strict=True)
        }
        return cls(by_id, next_id, [int(i) for i in arrays["deleted"]])


def join_labels(names: Sequence[str]) -> str:
    """Return labels as one text, each once, sorted.

    >>> join_labels(["dog", "cat", "dog"])
    'cat; dog'
    """
    return LABEL_SEPARATOR.join(sorted(set(names)))
