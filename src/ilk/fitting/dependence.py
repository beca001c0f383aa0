"""Find clusters of training images that depend on each other, where no groups are given.

Cross-validation assumes independent images. Several shots of one patient, scene or product are not:
a model that has seen one knows the others. Clusters are what these have in common:

- near-duplicates (`ilk.images.duplicates.near_duplicates`),
- neighbours of one class that are far closer than chance allows (`ilk.maths.nearest_neighbors`), in
  features or in thumbnails,
- images that a folder, a prefix, a burst or a running number puts together, where those look alike
  (`ilk.fitting.name_groups`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import UNGROUPED, Features, Labels
from ilk.fitting.name_groups import (
    NameGroups,
    find_number_pairs,
    is_supported,
    iter_name_groups,
    number_names,
)
from ilk.images import Row
from ilk.images.duplicates.near_duplicates import find_near_duplicates, standardize
from ilk.images.duplicates.perceptual_hash import Thumbnails
from ilk.maths.nearest_neighbors import Neighbors, find_close_pairs, find_neighbors

MIN_IMAGES, MIN_SHARE = 6, 0.05  # in clusters, below which they do not matter
MAX_CLUSTER_SHARE = 0.5  # of the images; a larger cluster leaves too little to compare

Pairs = NDArray[np.int64]  # [m, 2], positions


@dataclass(frozen=True, eq=False)
class Clusters:
    """Clusters of images that depend on each other.

    Attributes:
        group: Cluster of each image, `[n]`; -1 for an image on its own.
        evidence: What shows the clusters, in words.
        pattern: Regular expression that finds the clusters in the paths; "" if none does.
    """

    group: Labels
    evidence: str
    pattern: str = ""

    @property
    def matter(self) -> bool:
        """Whether there are more than a few images in clusters, and no cluster has most of them."""
        n, n_images = len(self.group), int(np.sum(self.group >= 0))
        if n_images < max(MIN_IMAGES, MIN_SHARE * n):
            return False
        sizes = np.bincount(self.group[self.group >= 0])
        return bool(sizes.max() <= MAX_CLUSTER_SHARE * n)


def find_clusters(
    rows: Sequence[Row], x: Features, y: Labels, thumbnails: Thumbnails | None = None
) -> Clusters:
    """Return the clusters of labelled images.

    Args:
        rows: Images, `n` of them.
        x: Their features, `[n, d]`.
        y: Their classes, `[n]`.
        thumbnails: Their thumbnails, `[n, SIDE, SIDE, 3]`; None if unknown.
    """
    neighbors = [find_neighbors(x.reshape(len(x), -1), y)]
    if thumbnails is not None:
        neighbors.append(find_neighbors(standardize(thumbnails), y))
    supported = [
        suggestion for suggestion in iter_name_groups(rows) if _look_alike(suggestion, neighbors, y)
    ]
    patterns = [suggestion for suggestion in supported if suggestion.pattern]
    chosen = patterns[:1] + [suggestion for suggestion in supported if not suggestion.pattern]
    pairs = {suggestion.source: to_pairs(suggestion.group) for suggestion in chosen}
    pairs |= dict(_iter_visual_pairs(rows, y, neighbors, thumbnails))
    pairs = {source: found for source, found in pairs.items() if len(found)}
    group = connect(len(rows), list(pairs.values()))
    return Clusters(group, ", ".join(pairs), patterns[0].pattern if patterns else "")


def _look_alike(suggestion: NameGroups, neighbors: Sequence[Neighbors], y: Labels) -> bool:
    return any(is_supported(suggestion.group, found.index[:, 0], y) for found in neighbors)


def _iter_visual_pairs(
    rows: Sequence[Row], y: Labels, neighbors: Sequence[Neighbors], thumbnails: Thumbnails | None
) -> Iterator[tuple[str, Pairs]]:
    """Yield pairs and what shows that they belong together."""
    numbered = [find_number_pairs(rows, found.index[:, 0], y) for found in neighbors]
    yield "successive numbers of pictures that look alike", np.concatenate(numbered)
    close = [find_close_pairs(found, y) for found in neighbors]
    yield "neighbours far closer than chance", np.concatenate(close)
    if thumbnails is not None:
        near = find_near_duplicates(thumbnails)
        yield "near-duplicates", np.column_stack([near.first, near.second])


def to_pairs(group: Labels) -> Pairs:
    """Return pairs that connect all members of each group, from the group of each row `[n]`."""
    order = np.argsort(group, kind="stable")
    order = order[group[order] >= 0]
    is_same = group[order[1:]] == group[order[:-1]]
    return np.column_stack([order[:-1][is_same], order[1:][is_same]])


def connect(n: int, pairs: Sequence[Pairs]) -> Labels:
    """Return the connected component of each of `n` rows, `[n]`; -1 for a row without a pair."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    both = np.concatenate([*pairs, np.zeros((0, 2), np.int64)])
    if not len(both):
        return np.full(n, UNGROUPED)
    graph = coo_matrix((np.ones(len(both)), tuple(both.T)), (n, n))
    component = connected_components(graph, directed=False)[1]
    return number_names([str(c) for c in component])
