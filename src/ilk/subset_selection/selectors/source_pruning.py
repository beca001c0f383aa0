"""Source pruning: keep the source classes, or clusters, that images of the target map to.

Yihua Zhang, Yimeng Zhang, Aochuan Chen, Jinghan Jia, Jiancheng Liu, Gaowen Liu, Mingyi Hong, Shiyu
Chang, Sijia Liu, 2023, Selectivity Drives Productivity: Efficient Dataset Pruning for Enhanced
Transfer Learning, NeurIPS (DP4TL).

    label mapping     use(c) = | { t in target : argmax_j p_surrogate(j | t) = c } |
    feature mapping   use(k) = | { t in target : argmin_j | t - mu_j | = k } |,  mu by k-means

and the classes (clusters) with the most hits are kept whole. Departure: ties, which are frequent
among classes without a hit, are broken by the surrogate's mean probability of the class, or by the
mean distance to the cluster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Data, Features, Labels
from ilk.maths.kmeans import fit_kmeans, squared_distances
from ilk.maths.out_of_fold import fit_head, predict_proba
from ilk.subset_selection.selectors.selector import (
    Scores,
    SelectorTags,
    require_target,
    standardize,
)


@dataclass(frozen=True)
class SourcePruning(SelectorTags):
    """Whole classes or clusters of the source, those with most hits first.

    The surrogate is a softmax regression on the features of the source.

    Attributes:
        mapping: "label", which needs labels, "feature", or "auto": label where all rows have one.
        clusters: Number of clusters of the feature mapping, >= 1; fewer if there are fewer rows.
    """

    needs_target: ClassVar[bool] = True

    mapping: Literal["auto", "label", "feature"] = "auto"
    clusters: int = 20

    def __post_init__(self) -> None:
        if self.mapping not in ("auto", "label", "feature"):
            raise ValueError(f"mapping is {self.mapping!r}; it must be auto, label or feature")
        if self.clusters < 1:
            raise ValueError(f"clusters is {self.clusters}; it must be at least 1")

    def score(self, source: Data, target: Data | None, seed: int) -> Scores:
        """Return the use of the class or cluster of each row, `[n]`, plus at most 1e-3.

        What is added orders the rows within a class at random.
        """
        known = require_target(target)
        is_labelled = bool((source.y >= 0).all()) and len(np.unique(source.y)) > 1
        if self.mapping == "label" or (self.mapping == "auto" and is_labelled):
            part, use = source.y, self._map_labels(source, known.x)
        else:
            x, t = (z.astype(np.float32) for z in standardize(source.x, known.x))
            part, use = map_features(x, t, self.clusters, seed)
        place = np.empty(len(use))  # distinct, so that a class is kept whole before the next
        place[np.argsort(use, kind="stable")] = np.arange(len(use))
        noise = np.random.default_rng(seed).random(len(source))
        return np.where(part >= 0, place[part], -1.0) + 1e-3 * noise

    def _map_labels(self, source: Data, target: Features) -> NDArray[np.float64]:
        head = fit_head(source)
        return count_label_hits(predict_proba(head, target))


def count_label_hits(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how many target rows each source class has, `[k]`, plus its mean probability / 2.

    Args:
        p: Probabilities of the source classes for rows of the target, `[m, k]`.
    """
    hits = np.bincount(p.argmax(1), minlength=p.shape[1])
    return np.asarray(hits + 0.5 * p.mean(0))


def map_features(
    x: Features, target: Features, n_clusters: int, seed: int
) -> tuple[Labels, NDArray[np.float64]]:
    """Return the cluster of each source row, `[n]`, and the use of each cluster, `[k]`.

    The use is the number of target rows that are nearest to the cluster's mean; ties go to the
    cluster that is nearer to the target on average.

    Args:
        x: Source features, `[n, d]`.
        target: Target features, `[m, d]`.
        n_clusters: Number of clusters, >= 1.
        seed: Seed of k-means.
    """
    n = min(n_clusters, len(x))
    result = fit_kmeans(x, np.full(len(x), -1), n, n_init=2, seed=seed)
    distances = squared_distances(np.asarray(target, np.float32), result.centres)
    hits = np.bincount(distances.argmin(1), minlength=n)
    mean = np.asarray(distances.mean(0), np.float64)
    use = np.asarray(hits - 0.5 * mean / (mean.max() or 1.0), np.float64)
    return result.assignment, use
