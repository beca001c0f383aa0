"""`Index`: images by their features, to be searched, extended, saved and loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ilk.core.contracts import describe
from ilk.core.data import Features
from ilk.core.errors import InputError
from ilk.core.space import FeatureSpace
from ilk.maths.top_k import NO_ID, Ids, Similarities
from ilk.retrieval.entries import Entries, Entry
from ilk.retrieval.index_folder import write_index
from ilk.retrieval.vectors.contract import Vectors
from ilk.retrieval.vectors.projection import Projection, apply_projection


@dataclass(eq=False)
class Index:
    """Images by their features.

    Attributes:
        space: Feature space of the encoder.
        kind: Settings of the kind of index, a file of `ilk.retrieval.kinds`.
        vectors: The rows.
        entries: The images.
        projection: Map of the features before they are compared; None for none.
        encoder: Description of the encoder, as a model folder keeps it; empty if unknown.
        facts: What was measured and is printed: recall, and why a projection is kept or not.
        folder: Where it was loaded from or saved to.
        source: The folder of images that it was built of, absolute; "" if unknown.
        value_ranges: Black and white of images of more than 8 bits, as the source has them.
    """

    space: FeatureSpace
    kind: Any
    vectors: Vectors
    entries: Entries
    projection: Projection | None = None
    encoder: Mapping[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    folder: Path | None = None
    source: str = ""
    value_ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.entries)

    def search(
        self,
        queries: Features,
        k: int = 10,
        *,
        exclude: Sequence[int] = (),
        among: Ids | None = None,
    ) -> tuple[Ids, Similarities]:
        """Return the nearest images of each query, best first.

        Args:
            queries: Features of the encoder, `[m, d]`.
            k: Number of images; fewer are found in a smaller index.
            exclude: Ids to leave out.
            among: Ids to search among, `[j]`; None for all.

        Returns:
            Ids `[m, k]`, -1 where there are no more, and similarity `[m, k]` in [-1, 1].

        Raises:
            InputError: The queries have another number of features, or k is below 1.
        """
        return self.search_projected(self.project(queries), k, exclude=exclude, among=among)

    def project(self, x: Features) -> Features:
        """Return features `[m, d]` as the unit rows `[m, e]` that are compared.

        Raises:
            InputError: They have another number of features, or values that are not finite.
        """
        x = np.asarray(x, np.float32)
        if x.ndim != 2 or x.shape[1] != self.space.dim:
            raise InputError(
                f"the features have the shape {x.shape}; this index holds {self.space.dim} "
                f"features per image of {self.space.name}: pass [m, {self.space.dim}]"
            )
        if not np.isfinite(x).all():
            raise InputError("the features of a query are not finite; use another encoder")
        return apply_projection(self.projection, x)

    def search_projected(
        self, rows: Features, k: int, *, exclude: Sequence[int] = (), among: Ids | None = None
    ) -> tuple[Ids, Similarities]:
        """As `search`, of unit rows `[m, e]` that `project` returned.

        Raises:
            InputError: k is below 1.
        """
        if k < 1:
            raise InputError(f"count is {k}; ask for at least 1 image")
        n = len(self)
        wanted = min(n, k + len(exclude))
        while True:
            ids, similarity = self.vectors.search(rows, max(wanted, 1))
            is_wanted = (ids != NO_ID) & ~np.isin(ids, np.asarray(exclude, np.int64))
            if among is not None:
                is_wanted &= np.isin(ids, among)
            if among is None or wanted >= n or (is_wanted.sum(1) >= min(k, len(among))).all():
                break
            wanted = min(n, 4 * wanted)
        order = np.argsort(~is_wanted, axis=1, kind="stable")[:, :k]
        found = np.take_along_axis(np.where(is_wanted, ids, NO_ID), order, 1)
        near = np.take_along_axis(np.where(is_wanted, similarity, -np.inf), order, 1)
        short = ((0, 0), (0, k - found.shape[1]))
        return (
            np.pad(found, short, constant_values=NO_ID),
            np.pad(near, short, constant_values=-np.inf).astype(np.float32),
        )

    def add(self, entries: Sequence[Entry], x: Features) -> Ids:
        """Add images that are not in the index, with features `[m, d]`; return their ids `[m]`.

        Raises:
            InputError: The features have another width than those of the index.
            ValueError: An image is in the index already.
        """
        rows = self.project(x)
        ids = self.entries.add(entries)
        self.vectors.add(ids, rows)
        return ids

    def delete(self, ids: Sequence[int] | Ids) -> None:
        """Delete images by id; their ids are never given again. Unknown ids are ignored."""
        known = np.array([i for i in map(int, ids) if i in self.entries.by_id], np.int64)
        self.vectors.delete(known)
        self.entries.delete(known.tolist())

    def take(self, ids: Ids) -> Features:
        """Return the rows of ids `[m]` as they are compared, `[m, e]`, of length 1.

        Raises:
            InputError: This kind of index keeps no rows.
        """
        return self.vectors.take(np.asarray(ids, np.int64))

    def save(self, folder: str | Path) -> Path:
        """Write the index to a folder, in one step, and return it.

        Raises:
            OutputError: The folder cannot be written, or holds something else.
        """
        path = Path(folder)
        is_same = self.folder is not None and self.folder.resolve() == path.resolve()
        writers = self.vectors.list_files()
        write_index(path, self._describe(), writers, self._pack_images(), is_same=is_same)
        self.folder = path
        return path

    def _pack_images(self) -> bytes:
        from safetensors.numpy import save

        arrays = self.entries.to_arrays()
        if self.projection is not None:
            arrays |= {"centre": self.projection.centre, "weight": self.projection.weight}
        return bytes(save({name: np.ascontiguousarray(array) for name, array in arrays.items()}))

    def _describe(self) -> dict[str, Any]:
        """Return the entries of `index.json` that are not about files."""
        space = self.space
        return {
            "space": {"key": space.key, "name": space.name, "dim": space.dim},
            "encoder": dict(self.encoder),
            "kind": describe(self.kind),
            "n": len(self),
            "next_id": self.entries.next_id,
            "facts": self.facts,
            "source": self.source,
            "value_ranges": {name: list(pair) for name, pair in self.value_ranges.items()},
        }
