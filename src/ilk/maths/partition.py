"""The search for a grouping of rows into Gaussians, of which some are known, by splits and merges.

What a grouping is worth is the sum over its groups of `a log G(n) + log L`, with G the gamma
function, n the rows of the group and L their marginal likelihood: for `a = 1` the posterior of a
Dirichlet process mixture of concentration 1, up to a constant. A move is made with probability
min(1, exp(gain)) (Chang and Fisher 2013, Parallel Sampling of DP Mixture Models using Sub-Cluster
Splits). Rows with a label never leave their class.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import gammaln

from ilk.data import Labels
from ilk.maths.clusters import grouped
from ilk.maths.gaussian import class_statistics, covariance
from ilk.maths.wishart import Matrix, Members, Prior, likeliest, student

SWEEPS = 10  # of moving rows to the group that is likeliest, the most after each move
ROUNDS, STILL = 30, 3  # of splits and merges, at most; and without gain, after which none follows
TRIES = 5  # splits of a labelled class that the power is learnt from
LEAST = 4  # rows of a labelled class that can tell how classes look


@dataclass(frozen=True, eq=False)
class Search:
    """What is grouped, and how a grouping is judged.

    Attributes:
        z: Rows about 0, `[n, r]`.
        y: Known class, 0 to k - 1, each with a row, or -1, `[n]`.
        k: Known classes.
        prior: Of the Gaussians.
        rng: Draws the splits that are tried, and decides.
        power: The `a` above, >= 1.
    """

    z: Matrix
    y: Labels
    k: int
    prior: Prior
    rng: np.random.Generator
    power: float = 1.0

    @classmethod
    def of(cls, z: Matrix, y: Labels, k: int, seed: int) -> Search:
        """With a prior and a power that the labelled rows teach."""
        told = y >= 0
        within = covariance(class_statistics(z[told], y[told], k))
        if np.bincount(y[told]).max(initial=0) < 2:  # no class tells it: the scale of all rows must
            within = np.eye(z.shape[1]) * (float(z.var(0).mean()) or 1.0)
        prior = likeliest(Members.of(z[told], y[told], k), within)
        search = cls(z, y, k, prior, np.random.default_rng(seed))
        parts = [np.flatnonzero(y == c) for c in range(k)]
        needed = [search.needed(rows) for rows in parts if len(rows) >= LEAST]
        return replace(search, power=1 + float(np.mean(needed)) if needed else 1.0)

    def needed(self, rows: Labels) -> float:
        """By how much the power must grow, if at all, to keep `rows` of one class whole."""
        whole, most = self.worth(Members.of(self.z[rows], np.zeros_like(rows), 1))[0], 0.0
        for _ in range(TRIES):
            halves = self.halves(rows, np.full(len(rows), -1))
            if halves.max() == 1:
                parts = Members.of(self.z[rows], halves, 2)
                price = gammaln(len(rows)) - gammaln(parts.counts).sum()
                gain = float(self.worth(parts).sum() - whole)
                most = max(most, gain / price) if price > 0 else most
        return most

    def worth(self, members: Members) -> Matrix:
        """`a log G(n) + log L` of each group, `[g]`."""
        return np.asarray(self.power * gammaln(members.counts) + self.prior.evidence(members))

    def members(self, answer: Labels) -> Members:
        """What the groups of `answer` look like; known classes always have a row."""
        return Members.of(self.z, answer, int(answer.max()) + 1)

    def best(self, start: int) -> tuple[Labels, list[int]]:
        """The worthiest grouping on the way from `start` new groups, and how many it had when."""
        start = min(start, int(np.sum(self.y < 0)))
        answer = self.settled(self.means(self.z, self.y, start), self.y, self.z)
        path = [self.k + start, int(answer.max()) + 1]
        best, top, still = answer, float(self.worth(self.members(answer)).sum()), 0
        for _ in range(ROUNDS):
            for move in (self.split, self.merge):
                answer = self.settled(move(answer), self.y, self.z)
                path.append(int(answer.max()) + 1)
            worth = float(self.worth(self.members(answer)).sum())
            still = 0 if worth > top + 1e-9 else still + 1
            if not still:
                best, top = answer, worth
            if still == STILL:
                break
        return best, path

    def told(self, answer: Labels, new: int) -> Labels:
        """From there on the best split or merge at a time, until there are `new` new groups."""
        patience = 2 * new + 2  # rows are no longer moved then, so that no group dies out again
        while (now := int(answer.max()) + 1 - self.k) != new:
            answer = self.split(answer, one=True) if now < new else self.merge(answer, one=True)
            if patience := max(0, patience - 1):
                answer = self.settled(answer, self.y, self.z)
        return answer

    def split(self, answer: Labels, one: bool = False) -> Labels:
        """With every group split that is better in two, or the `one` that gains most by it."""
        whole, answer = self.worth(self.members(answer)), answer.copy()
        found: list[tuple[float, Labels]] = []
        for c in range(len(whole)):
            rows = np.flatnonzero(answer == c)
            if np.sum(self.y[rows] < 0) < 1 + (c >= self.k):
                continue
            y = np.where(self.y[rows] < 0, -1, 0)
            halves = self.means(self.z[rows], y, 1 + (c >= self.k)) if one else self.halves(rows, y)
            if halves.max() == 1:
                parts = Members.of(self.z[rows], halves, 2)
                found.append((float(self.worth(parts).sum() - whole[c]), rows[halves == 1]))
        if one:
            found = [max(found, key=lambda split: split[0])]
        fresh = len(whole)
        for gain, rows in found:
            if one or self.rng.random() < np.exp(min(0.0, gain)):
                answer[rows], fresh = fresh, fresh + 1
        return answer

    def merge(self, answer: Labels, one: bool = False) -> Labels:
        """With pairs merged that are better as one, best first, or the `one` that gains most."""
        members = self.members(answer)
        worth, answer = self.worth(members), answer.copy()
        i, j = np.triu_indices(len(worth), 1)
        i, j = i[j >= self.k], j[j >= self.k]
        gains = self.worth(members.merged(i, j)) - worth[i] - worth[j]
        gone: set[int] = set()
        for at in np.argsort(-gains, kind="stable")[: 1 if one else None]:
            pair = {int(i[at]), int(j[at])}
            likely = one or self.rng.random() < np.exp(min(0.0, gains[at]))
            if likely and not pair & gone:
                answer[answer == j[at]] = i[at]
                gone |= pair
        return _closed(answer, self.k)

    def halves(self, rows: Labels, y: Labels) -> Labels:
        """Group 0 or 1 of `rows`; those with a `y` of 0 stay in 0."""
        z = self.z[rows]
        halves = self.means(z, y, 1 if (y == 0).any() else 2)
        return self.settled(halves, y, z)

    def means(self, z: Matrix, y: Labels, new: int) -> Labels:
        """Groups by means, distances as within a class."""
        whiten = np.linalg.inv(np.linalg.cholesky(self.prior.within)).T
        drawn = int(self.rng.integers(2**31))
        return grouped(z @ whiten, y, new, restarts=2, seed=drawn).answer

    def settled(self, answer: Labels, y: Labels, z: Matrix) -> Labels:
        """Rows without a label moved to their likeliest group, until none moves."""
        free, k = y < 0, int(y.max()) + 1
        for _ in range(SWEEPS if free.any() else 0):
            members = Members.of(z, answer, int(answer.max()) + 1)
            scores = student(z[free], *self.prior.predictive(members)) + np.log(members.counts)
            before, answer = answer, answer.copy()
            answer[free] = scores.argmax(1)
            answer = _closed(answer, k)
            if np.array_equal(before, answer):
                break
        return answer


def _closed(answer: Labels, k: int) -> Labels:
    """New groups numbered without gaps; known classes keep their numbers."""
    names = np.append(np.arange(k), np.unique(answer[answer >= k]))
    return np.searchsorted(names, answer).astype(np.int64)
