"""A navigable small world of rows, by usearch: the time of a query grows with log n.

Yu. A. Malkov, D. A. Yashunin, 2018, Efficient and Robust Approximate Nearest Neighbor Search Using
Hierarchical Navigable Small World Graphs, arXiv 1603.09320. Its parameters M, efConstruction and ef
are `connectivity`, `expansion_add` and `expansion_search` here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ilk.core.cores import count_cores
from ilk.core.data import Features
from ilk.core.errors import ArtifactError
from ilk.hub.client import require_package
from ilk.maths.top_k import NO_ID, Ids, Similarities
from ilk.retrieval.vectors.contract import IndexTags, Writers

PREFIX = "graph"


@dataclass(frozen=True)
class HNSW(IndexTags):
    """A graph of float16 rows; requires the package usearch (`pip install 'ilk[search]'`).

    Attributes:
        connectivity: Links per row, at least 2: more find more, and cost memory and time.
        expansion_add: Candidates while a row is added.
        expansion_search: Candidates while a query is answered: more find more, and take longer.
        threads: Threads; 0 uses every core.
    """

    is_exact: ClassVar[bool] = False
    remedy: ClassVar[str] = "HNSW(connectivity=32, expansion_search=256) finds more"

    connectivity: int = 16
    expansion_add: int = 128
    expansion_search: int = 128
    threads: int = 0

    def check(self) -> None:
        """Raise Unavailable without usearch, ValueError for wrong settings."""
        require_package("usearch", "search")
        if min(self.connectivity - 1, self.expansion_add, self.expansion_search) < 1:
            raise ValueError("connectivity must be at least 2, and expansions at least 1")
        if self.threads < 0:
            raise ValueError(f"threads is {self.threads}; allowed are 0 (all cores) and more")

    def start(self, dim: int, sample: Features) -> Graph:
        """Return an index without rows; the sample `[m, dim]` is not used."""
        from usearch.index import Index

        graph = Index(
            ndim=dim,
            metric="ip",
            dtype="f16",
            connectivity=self.connectivity,
            expansion_add=self.expansion_add,
            expansion_search=self.expansion_search,
        )
        return Graph(graph, self.threads or count_cores())

    def open(self, folder: Path, dim: int, deleted: Ids) -> Graph:
        """Return the index in a folder; ids `deleted`, `[m]`, were deleted before it was saved.

        Raises:
            ArtifactError: The file is missing, cut off, or of rows of another width.
        """
        from usearch.index import Index

        try:
            (path,) = folder.glob(f"{PREFIX}-*.usearch")
            graph = Index.restore(path, view=False)
        except (ValueError, RuntimeError, OSError, MemoryError) as error:
            why = " ".join(str(error).split())[:120]
            raise ArtifactError(
                f"the graph of {folder} cannot be read ({why}); build the index again"
            ) from None
        if graph is None or graph.ndim != dim:
            raise ArtifactError(
                f"{path} is cut off, or holds rows of a different width; build the index again"
            )
        graph.expansion_add = self.expansion_add
        graph.expansion_search = self.expansion_search
        return Graph(graph, self.threads or count_cores(), int(path.stem.rpartition("-")[2]))


@dataclass(eq=False)
class Graph:
    """An index of usearch.

    Attributes:
        graph: The index.
        threads: Number of threads.
        version: Number of the file, which every change raises.
        is_saved: Whether the file of this number has the present content.
    """

    graph: Any
    threads: int
    version: int = 0
    is_saved: bool = True

    def __len__(self) -> int:
        return len(self.graph)

    def add(self, ids: Ids, x: Features) -> None:
        """Add unit rows `[m, d]` under ids `[m]`."""
        if len(ids):
            self._change()
            self.graph.add(ids.astype(np.uint64), np.asarray(x, np.float32), threads=self.threads)

    def delete(self, ids: Ids) -> None:
        """Delete the rows of ids `[m]`."""
        if len(ids):
            self._change()
            self.graph.remove(ids.astype(np.uint64), threads=self.threads)

    def search(self, queries: Features, k: int) -> tuple[Ids, Similarities]:
        """Return ids and similarity, `[m, k]` each, of rows near unit rows `[m, d]`."""
        ids = np.full((len(queries), k), NO_ID, np.int64)
        similarity = np.full((len(queries), k), -np.inf, np.float32)
        if not len(self) or not len(queries):
            return ids, similarity
        count = min(k, len(self))
        found = self.graph.search(np.asarray(queries, np.float32), count, threads=self.threads)
        matches = [found] if not hasattr(found, "counts") else found
        for i, match in enumerate(matches):
            n = len(match.keys)
            ids[i, :n] = match.keys.astype(np.int64)
            similarity[i, :n] = 1 - match.distances
        order = np.lexsort((ids, -similarity), axis=1)
        return np.take_along_axis(ids, order, 1), np.take_along_axis(similarity, order, 1)

    def take(self, ids: Ids) -> Features:
        """Return the unit rows of ids `[m]`, `[m, d]`."""
        return np.asarray(self.graph.get(ids.astype(np.uint64)), np.float32).reshape(len(ids), -1)

    def count_bytes(self) -> int:
        """Return the bytes of the saved graph."""
        return int(self.graph.serialized_length)

    def list_files(self) -> Writers:
        """Return what writes the file of the graph."""
        self.is_saved = True
        return {f"{PREFIX}-{self.version}.usearch": lambda path: self.graph.save(str(path))}

    def _change(self) -> None:
        if self.is_saved:
            self.version, self.is_saved = self.version + 1, False
