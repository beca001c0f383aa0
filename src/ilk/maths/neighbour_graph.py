"""A graph of nearest neighbours by cosine, and what the place of a row in it looks like.

Every row points to its k most similar nodes; negative similarities count 0. A row that is not a
node gets its neighbours among the nodes, and the same description, so new rows need no new graph.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Labels
from ilk.core.linear_models import normalize_rows

Matrix = NDArray[np.float64]
CONTEXT = ("popularity", "clustering", "centrality", "similarity", "agreement")
N_STATIC = 4  # of these do not depend on labels
DECIMALS = 9  # of similarities, so that rounding errors of a product do not order equal ones
BLOCK_VALUES = 2**22  # similarities in memory at a time
N_POWERS = 60  # steps of the power iteration


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """The neighbours of some rows among the nodes.

    Attributes:
        index: Nodes, most similar first, `[n, k]`.
        weight: Their similarities, `[n, k]`, at least 0.
        popularity: How many nodes would have the row among their k most similar, `[n]`.
    """

    index: Labels
    weight: Matrix
    popularity: Matrix


@dataclass(frozen=True, eq=False)
class NeighbourGraph:
    """Nodes and their neighbours.

    Attributes:
        units: Nodes scaled to length 1, `[n, d]` float32.
        index: Neighbours of each node, most similar first, `[n, k]`.
        reach: Similarity to the last of them, `[n]`.
        centrality: Eigenvector centrality, with mean 1, `[n]`.
        eigenvalue: The eigenvalue that belongs to it, >= 1.
    """

    units: NDArray[np.float32]
    index: Labels
    reach: Matrix
    centrality: Matrix
    eigenvalue: float

    @property
    def k(self) -> int:
        """Number of neighbours of a node."""
        return int(self.index.shape[1])

    def find(self, x: NDArray[np.floating], *, are_nodes: bool = False) -> Neighbourhood:
        """Return the neighbours of rows `[m, d]`; `are_nodes`: the rows are the nodes, in order."""
        return find_nearest(self.units, x, self.k, self.reach, are_nodes=are_nodes)

    def describe(self, place: Neighbourhood) -> Matrix:
        """Return popularity, clustering, centrality and similarity of rows, `[m, 4]`.

        Clustering is the share of pairs of neighbours that are neighbours of each other; centrality
        `c_i = (c_i + sum_j w_ij c_j) / eigenvalue` for a node, and what that gives for a new row.
        """
        m, k = place.index.shape
        if not k:
            return np.column_stack([place.popularity, np.zeros(m), np.ones(m), np.zeros(m)])
        linked = np.zeros(m)
        for a in range(k):
            theirs = self.index[place.index[:, a]]  # [m, k]
            for b in range(k):
                if a != b:
                    is_linked = (theirs == place.index[:, b : b + 1]).any(1)
                    linked += is_linked
        pairs = max(1, k * (k - 1))
        flow = (place.weight * self.centrality[place.index]).sum(1)
        centrality = flow / max(self.eigenvalue - 1.0, 1e-9) if self.eigenvalue > 1 else np.ones(m)
        return np.column_stack([place.popularity, linked / pairs, centrality, place.weight.mean(1)])

    def measure_agreement(self, place: Neighbourhood, labels: Labels, own: Labels) -> Matrix:
        """Return the share of nodes within two steps with the label of the row, `[m]`.

        Args:
            place: Neighbours of the rows.
            labels: Label of each node, known or guessed, `[n]`.
            own: What each row is taken for, `[m]`: never its given label.
        """
        m, k = place.index.shape
        if not k:
            return np.zeros(m)
        near = labels[place.index] == own[:, None]
        far = labels[self.index[place.index]] == own[:, None, None]
        return np.asarray((near.mean(1) + far.mean((1, 2))) / 2)


def build_graph(x: NDArray[np.floating], k: int) -> NeighbourGraph:
    """Return the graph of rows `[n, d]` with k neighbours each, or n - 1 if there are fewer."""
    units = normalize_rows(x).astype(np.float32)
    n = len(units)
    k = min(k, n - 1)
    place = find_nearest(units, x, k, are_nodes=True)
    reach = place.weight[:, -1] if k else np.full(n, np.inf)
    centrality, eigenvalue = np.ones(n), 1.0
    if k:
        for _ in range(N_POWERS):
            after = centrality + (place.weight * centrality[place.index]).sum(1)
            eigenvalue = float(after.mean())
            centrality = after / eigenvalue
    return NeighbourGraph(units, place.index, reach, centrality, eigenvalue)


def find_nearest(
    units: NDArray[np.float32],
    x: NDArray[np.floating],
    k: int,
    reach: Matrix | None = None,
    *,
    are_nodes: bool = False,
) -> Neighbourhood:
    """Return the k nodes most similar to rows; ties go to the earlier one.

    Args:
        units: Nodes scaled to length 1, `[n, d]`.
        x: Rows, `[m, d]`.
        k: Number of neighbours, at most n.
        reach: Similarity from which a node has the row among its neighbours, `[n]`, for the
            popularity; None counts every node with a positive similarity.
        are_nodes: Whether the rows are the nodes, in order; none is its own neighbour.
    """
    reach = np.zeros(len(units)) if reach is None else reach
    nodes = units.astype(np.float64)
    rows = nodes if are_nodes else normalize_rows(normalize_rows(x).astype(np.float32))
    index, weight = np.empty((len(rows), k), np.int64), np.empty((len(rows), k))
    popularity = np.empty(len(rows))
    step = max(1, BLOCK_VALUES // max(1, len(nodes)))
    for start in range(0, len(rows), step):
        part = slice(start, min(start + step, len(rows)))
        similarity = np.round(rows[part] @ nodes.T, DECIMALS)
        own = np.arange(part.start, part.stop)
        if are_nodes:
            similarity[own - start, own] = -np.inf
        popularity[part] = ((similarity >= reach) & (similarity > 0)).sum(1)
        order = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
        index[part] = order
        weight[part] = np.maximum(np.take_along_axis(similarity, order, 1), 0)
    return Neighbourhood(index, weight, popularity)
