"""Split-merge search for a Gaussian mixture with some labelled components.

The score of a grouping is the sum over its groups of `a log G(n) + log L`, with G the gamma
function, n the rows of the group and L their marginal likelihood: for `a = 1` the log posterior of
a Dirichlet process mixture of concentration 1, up to a constant. A move is accepted with
probability min(1, exp(gain)) (Chang and Fisher 2013, Parallel Sampling of DP Mixture Models using
Sub-Cluster Splits). Labelled rows never leave their class.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ilk.core.data import Labels
from ilk.maths.covariance import estimate_covariance
from ilk.maths.gaussian import compute_statistics
from ilk.maths.kmeans import fit_kmeans
from ilk.maths.normal_inverse_wishart import (
    GroupStatistics,
    Matrix,
    NormalInverseWishart,
    fit_prior,
    student_log_pdf,
)

MAX_SWEEPS = 10  # reassignments of rows to their most likely group after each move
MAX_ROUNDS, PATIENCE = 30, 3  # rounds of splits and merges: at most, and without improvement
N_TRIAL_SPLITS = 5  # splits of each labelled class from which the power is estimated
MIN_ROWS = 4  # minimum size of the labelled classes used for that


@dataclass(frozen=True, eq=False)
class SplitMergeSearch:
    """Rows with a prior and the score of their groupings.

    Attributes:
        z: Centred rows, `[n, r]`.
        y: Class, 0 to k - 1, each with rows, or -1, `[n]`.
        k: Number of known classes.
        prior: Prior of the components.
        rng: Random generator of proposals and acceptance.
        power: The `a` above, >= 1.
    """

    z: Matrix
    y: Labels
    k: int
    prior: NormalInverseWishart
    rng: np.random.Generator
    power: float = 1.0

    @classmethod
    def from_labels(cls, z: Matrix, y: Labels, k: int, seed: int) -> SplitMergeSearch:
        """Return a search whose prior and power are estimated from labelled rows.

        Args:
            z: Centred rows, `[n, r]`.
            y: Class of each row, `[n]`, -1 where unknown.
            k: Number of known classes.
            seed: Seed of the search.
        """
        is_labelled = y >= 0
        within = estimate_covariance(compute_statistics(z[is_labelled], y[is_labelled], k))
        if np.bincount(y[is_labelled]).max(initial=0) < 2:  # no class has two rows
            within = np.eye(z.shape[1]) * (float(z.var(0).mean()) or 1.0)
        prior = fit_prior(GroupStatistics.from_rows(z[is_labelled], y[is_labelled], k), within)
        search = cls(z, y, k, prior, np.random.default_rng(seed))
        class_rows = [np.flatnonzero(y == c) for c in range(k)]
        required_powers = [
            search.compute_required_power(rows) for rows in class_rows if len(rows) >= MIN_ROWS
        ]
        return replace(
            search, power=1 + float(np.mean(required_powers)) if required_powers else 1.0
        )

    def compute_required_power(self, rows: Labels) -> float:
        """Return the increase of the power, >= 0, that keeps `rows [m]` of one class together."""
        from scipy.special import gammaln

        whole = GroupStatistics.from_rows(self.z[rows], np.zeros_like(rows), 1)
        unsplit_score, largest = self.score_groups(whole)[0], 0.0
        for _ in range(N_TRIAL_SPLITS):
            halves = self.split_in_two(rows, np.full(len(rows), -1))
            if halves.max() == 1:
                parts = GroupStatistics.from_rows(self.z[rows], halves, 2)
                size_penalty = gammaln(len(rows)) - gammaln(parts.counts).sum()
                gain = float(self.score_groups(parts).sum() - unsplit_score)
                largest = max(largest, gain / size_penalty) if size_penalty > 0 else largest
        return largest

    def score_groups(self, groups: GroupStatistics) -> Matrix:
        """Return the score `a log G(n) + log L` of each group, `[g]`."""
        from scipy.special import gammaln

        return np.asarray(
            self.power * gammaln(groups.counts) + self.prior.compute_log_evidence(groups)
        )

    def compute_statistics(self, assignment: Labels) -> GroupStatistics:
        """Return the statistics of the groups of `assignment [n]`."""
        return GroupStatistics.from_rows(self.z, assignment, int(assignment.max()) + 1)

    def search(self, n_start: int) -> tuple[Labels, list[int]]:
        """Return the best grouping `[n]` found from `n_start` new groups, and all group counts."""
        n_start = min(n_start, int(np.sum(self.y < 0)))
        assignment = self.reassign_rows(self.run_kmeans(self.z, self.y, n_start), self.y, self.z)
        group_counts = [self.k + n_start, int(assignment.max()) + 1]
        best_assignment, stale_rounds = assignment, 0
        best_score = float(self.score_groups(self.compute_statistics(assignment)).sum())
        for _ in range(MAX_ROUNDS):
            for move in (self.split, self.merge):
                assignment = self.reassign_rows(move(assignment), self.y, self.z)
                group_counts.append(int(assignment.max()) + 1)
            score = float(self.score_groups(self.compute_statistics(assignment)).sum())
            stale_rounds = 0 if score > best_score + 1e-9 else stale_rounds + 1
            if not stale_rounds:
                best_assignment, best_score = assignment, score
            if stale_rounds == PATIENCE:
                break
        return best_assignment, group_counts

    def reach_group_count(self, assignment: Labels, n_new: int) -> Labels:
        """Apply the best split or merge to `assignment [n]` until there are `n_new` new groups."""
        patience = 2 * n_new + 2  # rows are not moved after that, so that no group becomes empty
        while (n_current := int(assignment.max()) + 1 - self.k) != n_new:
            assignment = (
                self.split(assignment, only_best=True)
                if n_current < n_new
                else self.merge(assignment, only_best=True)
            )
            if patience := max(0, patience - 1):
                assignment = self.reassign_rows(assignment, self.y, self.z)
        return assignment

    def split(self, assignment: Labels, only_best: bool = False) -> Labels:
        """Return `assignment [n]` after proposing to split every group.

        With `only_best`, apply the split with the largest gain instead.
        """
        unsplit_scores = self.score_groups(self.compute_statistics(assignment))
        assignment = assignment.copy()
        candidates: list[tuple[float, Labels]] = []
        for c in range(len(unsplit_scores)):
            rows = np.flatnonzero(assignment == c)
            if np.sum(self.y[rows] < 0) < 1 + (c >= self.k):
                continue
            y = np.where(self.y[rows] < 0, -1, 0)
            halves = (
                self.run_kmeans(self.z[rows], y, 1 + (c >= self.k))
                if only_best
                else self.split_in_two(rows, y)
            )
            if halves.max() == 1:
                parts = GroupStatistics.from_rows(self.z[rows], halves, 2)
                candidates.append(
                    (float(self.score_groups(parts).sum() - unsplit_scores[c]), rows[halves == 1])
                )
        if only_best:
            candidates = [max(candidates, key=lambda split: split[0])]
        next_group = len(unsplit_scores)
        for gain, rows in candidates:
            if only_best or self.rng.random() < np.exp(min(0.0, gain)):
                assignment[rows], next_group = next_group, next_group + 1
        return assignment

    def merge(self, assignment: Labels, only_best: bool = False) -> Labels:
        """Return `assignment [n]` after proposing to merge pairs of groups, best first.

        With `only_best`, apply the merge with the largest gain instead.
        """
        groups = self.compute_statistics(assignment)
        scores, assignment = self.score_groups(groups), assignment.copy()
        i, j = np.triu_indices(len(scores), 1)
        i, j = i[j >= self.k], j[j >= self.k]
        gains = self.score_groups(groups.merge_pairs(i, j)) - scores[i] - scores[j]
        merged: set[int] = set()
        for index in np.argsort(-gains, kind="stable")[: 1 if only_best else None]:
            pair = {int(i[index]), int(j[index])}
            is_accepted = only_best or self.rng.random() < np.exp(min(0.0, gains[index]))
            if is_accepted and not pair & merged:
                assignment[assignment == j[index]] = i[index]
                merged |= pair
        return _renumber_groups(assignment, self.k)

    def split_in_two(self, rows: Labels, y: Labels) -> Labels:
        """Return group 0 or 1 of each of `rows [m]`; those with `y [m]` = 0 stay in group 0."""
        z = self.z[rows]
        halves = self.run_kmeans(z, y, 1 if (y == 0).any() else 2)
        return self.reassign_rows(halves, y, z)

    def run_kmeans(self, z: Matrix, y: Labels, n_new: int) -> Labels:
        """Return k-means groups `[n]` of rows `z [n, r]`, whitened by the expected covariance."""
        whiten = np.linalg.inv(np.linalg.cholesky(self.prior.expected_covariance)).T
        seed = int(self.rng.integers(2**31))
        return fit_kmeans(z @ whiten, y, n_new, n_init=2, seed=seed).assignment

    def reassign_rows(self, assignment: Labels, y: Labels, z: Matrix) -> Labels:
        """Move unlabelled rows to their most likely group until none moves; return groups `[n]`."""
        is_unlabelled, k = y < 0, int(y.max()) + 1
        for _ in range(MAX_SWEEPS if is_unlabelled.any() else 0):
            groups = GroupStatistics.from_rows(z, assignment, int(assignment.max()) + 1)
            scores = student_log_pdf(
                z[is_unlabelled], *self.prior.compute_predictive(groups)
            ) + np.log(groups.counts)
            previous, assignment = assignment, assignment.copy()
            assignment[is_unlabelled] = scores.argmax(1)
            assignment = _renumber_groups(assignment, k)
            if np.array_equal(previous, assignment):
                break
        return assignment


def _renumber_groups(assignment: Labels, k: int) -> Labels:
    """Number new groups without gaps; known classes keep their numbers."""
    names = np.append(np.arange(k), np.unique(assignment[assignment >= k]))
    return np.searchsorted(names, assignment).astype(np.int64)
