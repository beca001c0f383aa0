"""k nearest neighbours with k chosen by leave-one-out.

Thomas M. Cover, Peter E. Hart, 1967, Nearest Neighbor Pattern Classification,
doi:10.1109/TIT.1967.1053964.

    score_c(x) = log((votes_c + 1 / m) / (k + 1))  with m classes with rows, Euclidean distances

Scoring n rows against n rows takes time that grows with n^2, in blocks of bounded memory.
Cross-validation therefore trains on at most 20,000 random rows per fold (`max_fold_rows`); more
neighbours would be nearer, so that its estimate is on the low side.

Votes fade by a hundredth from the nearest neighbour to the last, so that ties go to the nearer. A
row of weight w casts w votes, and the last of the k votes may be part of a row's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ilk.core.contracts import MethodTags, labelled_features
from ilk.core.data import Data, Features, Labels, Logits
from ilk.core.row_stream import RowStream
from ilk.core.statistics import Statistics
from ilk.maths.folds import number_groups
from ilk.maths.leave_group_out import find_groups, find_rows_with_other_groups
from ilk.maths.leave_one_out import left_out_weight
from ilk.maths.pca import weighted_mean
from ilk.maths.sampling import sample_by_class
from ilk.maths.streamed_neighbours import find_nearest_streamed

CANDIDATE_KS = (1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50)
MAX_VALIDATION_ROWS = 2000  # rows left out, at most, to choose k
EXTRA_CANDIDATES = 16  # candidates beyond k whose distance is computed exactly
ROUNDING_ERRORS = 8  # times the typical error of a float32 product: closer distances are exact
MAX_BLOCK_SIZE = 2**22  # the largest block of distances or differences: 16 MB or 32 MB


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The training rows.

    Attributes:
        rows: `[n, d]` float32, minus `centre`.
        y: Class of each row, `[n]` int64.
        centre: `[d]` float32.
        k: Number of votes.
        n_classes: Number of classes.
        weight: Votes of each row, `[n]` float64; None is one each.
    """

    kind: ClassVar[str] = "neighbours"
    shapes: ClassVar[dict[str, str]] = {"rows": "n d", "y": "n", "centre": "d", "weight": "n"}

    rows: Features
    y: Labels
    centre: Features
    k: int
    n_classes: int
    weight: NDArray[np.float64] | None = None

    def logits(self, x: Features) -> Logits:
        """Return the log of the smoothed proportion of votes, `[n, n_classes]` float64.

        It is `-inf` for a class without rows.
        """
        nearest = self.find_nearest(x, self.count_neighbours(self.k))
        weight = None if self.weight is None else self.weight[nearest]
        return self.vote(self.y[nearest], self.k, weight)

    def count_neighbours(self, k: int) -> int:
        """Return how many neighbours always hold `k` votes between them, at most all rows."""
        if self.weight is None:
            return k
        return min(len(self.rows), 1 + int(np.searchsorted(np.sort(self.weight).cumsum(), k)))

    def vote(
        self, neighbour_labels: Labels, k: int, weight: NDArray[np.float64] | None = None
    ) -> Logits:
        """Return the log of the smoothed proportion of the first `k` votes, `[n, n_classes]`.

        Args:
            neighbour_labels: Classes of the neighbours, nearest first, `[n, m]`.
            k: Number of votes.
            weight: Votes of each neighbour, `[n, m]`; None is one each.
        """
        present = np.bincount(self.y, minlength=self.n_classes) > 0
        votes = np.zeros((len(neighbour_labels), self.n_classes))
        if weight is None:
            for rank, value in enumerate(1 + 0.01 * (0.5 - (np.arange(k) + 0.5) / k)):
                votes[np.arange(len(votes)), neighbour_labels[:, rank]] += value
        else:  # the sum above as an integral over the votes that a row casts, [first, last)
            last = np.minimum(weight.cumsum(1), k)
            first = np.concatenate([np.zeros((len(last), 1)), last[:, :-1]], axis=1)
            values = (last - first) * (1 + 0.01 * (0.5 - 0.5 * (last + first) / k))
            for rank in range(weight.shape[1]):
                votes[np.arange(len(votes)), neighbour_labels[:, rank]] += values[:, rank]
        proportion = np.where(present, (votes + 1 / present.sum()) / (k + 1), 0.0)
        return np.log(proportion, where=proportion > 0, out=np.full_like(proportion, -np.inf))

    def find_nearest(
        self, x: NDArray[np.floating], k: int, excluded_rows: Labels | None = None
    ) -> Labels:
        """Return positions of the `k` nearest rows, nearest first, `[n, k]`.

        Ties go to the earlier row. A float32 product selects candidates and ranks them where their
        distances differ by more than its rounding errors, and float64 differences rank the others,
        so that the result does not depend on the batch size.

        Args:
            x: Rows, `[n, d]`.
            k: Number of neighbours, at most the number of training rows.
            excluded_rows: A training row to leave out for each `x`, `[n]`.
        """
        n, d = self.rows.shape
        m = min(n, k + EXTRA_CANDIDATES)
        step = max(1, MAX_BLOCK_SIZE // n)
        squared_norms = np.einsum("ij,ij->i", self.rows, self.rows)
        out = np.empty((len(x), k), np.int64)
        for start in range(0, len(x), step):
            part = slice(start, start + step)
            z = (np.asarray(x[part], np.float64) - self.centre).astype(np.float32)
            approximate = squared_norms - 2 * z @ self.rows.T
            if excluded_rows is not None:
                approximate[np.arange(len(z)), excluded_rows[part]] = np.inf
            candidates = np.argpartition(approximate, m - 1, axis=1)[:, :m]
            values = np.take_along_axis(approximate, candidates, axis=1)
            order = np.argsort(values, axis=1, kind="stable")
            candidates = np.take_along_axis(candidates, order, axis=1)
            values = np.take_along_axis(values, order, axis=1)
            norms = squared_norms[candidates].max(1) + np.einsum("ij,ij->i", z, z)
            rounding = ROUNDING_ERRORS * np.sqrt(d) * np.finfo(np.float32).eps * norms
            out[part] = self._sort_close(z, candidates, values, rounding)[:, :k]
        return out

    def _sort_close(
        self,
        z: Features,
        candidates: Labels,
        values: NDArray[np.float32],
        rounding: NDArray[np.float32],
    ) -> Labels:
        """Return `candidates [n, m]` sorted by exact distance, then by position.

        Args:
            z: Centred rows, `[n, d]`.
            candidates: Positions of training rows, sorted by `values`.
            values: Approximate squared distances minus a constant per row, `[n, m]`.
            rounding: Difference of approximate distances that rounding errors do not reach, `[n]`.
        """
        n, m = candidates.shape
        is_apart = values[:, 1:] - values[:, :-1] > rounding[:, None]
        edge = np.ones((n, 1), bool)
        group = np.cumsum(np.concatenate([~edge, is_apart], axis=1), axis=1)
        is_close = ~(np.hstack([edge, is_apart]) & np.hstack([is_apart, edge]))
        is_close &= np.isfinite(values)
        row, rank = np.nonzero(is_close)
        exact = np.zeros((n, m))
        step = max(1, MAX_BLOCK_SIZE // z.shape[1])
        for at in range(0, len(row), step):
            i, j = row[at : at + step], rank[at : at + step]
            differences = z[i].astype(np.float64) - self.rows[candidates[i, j]]
            exact[i, j] = np.einsum("nd,nd->n", differences, differences)
        affected = np.flatnonzero(is_close.any(1))
        order = np.lexsort((candidates[affected], exact[affected], group[affected]), axis=1)
        out = candidates.copy()
        out[affected] = np.take_along_axis(candidates[affected], order, axis=1)
        return out


@dataclass(frozen=True)
class KNearest(MethodTags):
    """k nearest neighbours.

    Attributes:
        k: Number of votes, >= 1; all rows where there are fewer. None takes, of 1 to 50, the most
            accurate by leave-one-out, or leave-group-out where rows belong to groups, the larger in
            a tie.
        seed: Seed of the subsample that chooses k where there are more than 2,000 rows.
    """

    default_candidate = True
    fit_cost = 0.2
    supports_weights = True
    exact_extension = True
    max_fold_rows = 20_000

    k: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.k is not None and (self.k < 1 or self.k != int(self.k)):
            raise ValueError(f"k is {self.k}; it must be a whole number, at least 1, or None")

    def fit(self, data: Data) -> Neighbours:
        labelled = labelled_features(data, self)
        centre = weighted_mean(labelled.x, labelled.sample_weight).astype(np.float32)
        rows = labelled.x - centre
        k = min(self.k or 1, ceil(labelled.weight.sum() - 1e-9))
        model = Neighbours(rows, labelled.y, centre, k, data.k, labelled.sample_weight)
        return model if self.k is not None else replace(model, k=self._choose_k(model, labelled))

    def fit_stream(self, rows: RowStream) -> Neighbours:
        """Return the neighbours among as many random rows as may be held; all where they fit.

        What the others would add is measured on left-out rows, whose neighbours among all rows are
        found block by block, and noted.
        """
        n, limit = len(rows.y), max(2, rows.memory // (4 * rows.d))
        kept = sample_by_class(rows.y, limit, self.seed, rows.group)
        held = Data(rows.take(kept), rows.y[kept], rows.classes, group=rows.group[kept])
        model = self.fit(held)
        if len(kept) < n:
            rows.note(
                f"k nearest neighbours keep {len(kept):,} of {n:,} training images, which is what "
                f"the memory limit allows (--memory){self._compare_with_all(model, kept, rows)}"
            )
        return model

    def _compare_with_all(self, model: Neighbours, kept: Labels, rows: RowStream) -> str:
        """Return how accurate left-out rows are among the kept rows and among all, in words."""
        scored = kept[sample_by_class(rows.y[kept], MAX_VALIDATION_ROWS, self.seed)]
        group, x = number_groups(rows.group), rows.take(scored)
        centre = model.centre
        of_all, _ = find_nearest_streamed(x, group[scored], rows.iterate(), group, model.k, centre)
        own = [(kept, model.rows + centre)]
        of_kept, _ = find_nearest_streamed(x, group[scored], own, group, model.k, centre)
        found = (of_all >= 0).all(1) & (of_kept >= 0).all(1)
        accuracy = [
            float(
                (model.vote(rows.y[near[found]], model.k).argmax(1) == rows.y[scored[found]]).mean()
            )
            for near in (of_kept, of_all)
        ]
        half = 1.96 * float(np.sqrt(accuracy[0] * (1 - accuracy[0]) / max(1, found.sum())))
        return (
            f"; {int(found.sum()):,} left-out images are classified with an accuracy of "
            f"{accuracy[0]:.3f} by these and {accuracy[1]:.3f} by all (each ± {half:.3f})"
        )

    def extend(self, model: Neighbours, added: Data, statistics: Statistics) -> Neighbours:
        """Return `model` with the labelled rows of `added`; k stays as it is."""
        labelled = labelled_features(added, self)
        weight = None
        if model.weight is not None or labelled.sample_weight is not None:
            old_weight = np.ones(len(model.y)) if model.weight is None else model.weight
            weight = np.append(old_weight, labelled.weight)
        rows = np.concatenate([model.rows, np.asarray(labelled.x - model.centre, np.float32)])
        return Neighbours(
            rows, np.append(model.y, labelled.y), model.centre, model.k, added.k, weight
        )

    def leave_one_out_logits(
        self,
        model: Neighbours,
        x: Features,
        y: Labels,
        statistics: Statistics,
        group: Labels | None = None,
    ) -> Logits:
        """Return logits `[m, k]` of rows `x [m, d]`, each without the votes of its group."""
        if group is not None:
            own_group = number_groups(group)
            row_group = np.full(len(model.rows), -1, np.int64)
            row_group[model.find_nearest(x, 1)[:, 0]] = own_group  # the nearest is the row itself
            is_other = row_group < 0
            row_group[is_other] = own_group.max(initial=-1) + 1 + np.arange(is_other.sum())
            nearest, weight = find_other_groups(model, x, model.k, row_group, own_group)
            return model.vote(model.y[nearest], model.k, weight)
        if model.weight is None:
            k = min(model.k, len(model.rows) - 1)
            nearest = model.find_nearest(x, k + 1)[:, 1:]  # the first is the row itself
            return model.vote(model.y[nearest], k)
        k = max(1, min(model.k, ceil(model.weight.sum() - 1 - 1e-9)))
        nearest = model.find_nearest(x, model.count_neighbours(k + 1))
        weight = model.weight[nearest]
        weight[:, 0] -= np.minimum(weight[:, 0], 1.0)
        return model.vote(model.y[nearest], k, weight)

    def _choose_k(self, model: Neighbours, labelled: Data) -> int:
        left_out = left_out_weight(labelled.sample_weight, len(labelled))
        group = find_groups(labelled)
        rows = np.flatnonzero(labelled.sum_label_weights()[labelled.y] > left_out + 1e-9)
        if group is not None:
            rows = find_rows_with_other_groups(labelled.y, group, labelled.sample_weight)
        if not len(rows):
            return 1
        if len(rows) > MAX_VALIDATION_ROWS:
            rng = np.random.default_rng(self.seed)
            rows = rng.choice(rows, MAX_VALIDATION_ROWS, replace=False)
        n = labelled.weight.sum()
        candidates = [k for k in CANDIDATE_KS if k < n]
        weight: NDArray[np.float64] | None
        if group is not None:
            x, most = labelled.x[rows], candidates[-1]
            nearest, weight = find_other_groups(model, x, most, group, group[rows])
        else:
            nearest, weight = _find_others(model, labelled, rows, candidates[-1])
        n_correct = [
            np.sum(
                labelled.weight[rows]
                * (model.vote(labelled.y[nearest], k, weight).argmax(1) == labelled.y[rows])
            )
            for k in candidates
        ]
        return max(zip(n_correct, candidates, strict=True))[1]


def _find_others(
    model: Neighbours, labelled: Data, rows: Labels, k: int
) -> tuple[Labels, NDArray[np.float64] | None]:
    """Return neighbours of `rows` and their votes, `[m, j]`, with one copy of the row left out."""
    x = labelled.x[rows]
    if model.weight is None:
        return model.find_nearest(x, k, rows), None
    nearest = model.find_nearest(x, model.count_neighbours(k + 1))
    weight = model.weight[nearest]
    left_out = left_out_weight(model.weight, len(model.rows))[nearest]
    return nearest, weight - np.where(nearest == rows[:, None], left_out, 0.0)


def find_other_groups(
    model: Neighbours, x: Features, k: int, group: Labels, own_group: Labels
) -> tuple[Labels, NDArray[np.float64]]:
    """Return neighbours in other groups with `k` votes between them, and their votes, `[m, j]`.

    Args:
        model: The training rows.
        x: Features, `[m, d]`.
        k: Number of votes.
        group: Group number of each training row, `[n]`.
        own_group: Group number of each of `x`, `[m]`.
    """
    n_excluded = int(np.bincount(group)[own_group].max(initial=0))
    n = min(len(model.rows), model.count_neighbours(k) + n_excluded)
    nearest = model.find_nearest(x, n)
    weight = np.ones(nearest.shape) if model.weight is None else model.weight[nearest]
    return nearest, np.where(group[nearest] == own_group[:, None], 0.0, weight)
