"""RCAL: Gaussians of clean classes recovered from wrong, unbalanced labels, and rows drawn of them.

Manyi Zhang, Xuyang Zhao, Jun Yao, Chun Yuan, Weiran Huang, 2023, When Noisy Labels Meet Long Tail
Dilemmas: A Representation Calibration Method, arXiv 2211.10955.

1. Of the rows labelled c, those with the largest local outlier factor are left out.
2. The rest give a mean m_c and a covariance S_c. A tail class borrows from its nearest head classes
   j, with weights w_j that fall with distance:
       m_c <- (n_c m_c + a sum_j w_j m_j) / (n_c + a),
       S_c <- ((n_c - 1) S_c + b sum_j w_j S_j) / (n_c - 1 + b) + e I
3. Rows drawn of these Gaussians fill the classes up to one size, and a softmax regression learns
   from the rows that were kept and those drawn.

Departures: the constants are ours, for we had not the paper's, and so are the pseudo-counts a and b
(a fixed share takes as much from a class of 3 rows as from one of 300). A head class has at least
the mean number of rows. A row is compared with a quarter of its class, or 20 rows if that is more,
for wrong rows of one kind lie together and would vouch for each other. Features are frozen, so the
term that ties representations to contrastive ones, and mixup, have no place. Wrong labels that are
most of a tail class are no outliers in it: nothing here then finds the few that are right.

In `ilk bench wrong_labels` the drawn rows are what helps: with them it beats cross-entropy, and a
remedy for noise alone, nearly throughout. Taking the log share of a class off a cross-validated
regression does as well or better with less, and the recovered means are seldom nearer the clean
ones: leaving rows out costs a tail class its own, and where features overlap the odd rows are not
the wrong ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.data import Data, Labels
from ilk.maths.softmax import Regressions
from ilk.models import Facts, Linear, learnable

Rows = NDArray[np.float64]  # [n, d]

NEIGHBOURS, QUARTER = 20, 0.25  # that a row is compared with: so many, or that share of its class
NEAREST = 3  # head classes that a tail class borrows from
BROADEN = 0.01  # e, in mean variances of a feature
TOLERANCE = 1e-6  # share of the loss that the regression may leave to win


@dataclass(frozen=True)
class RCAL(Facts):
    """Softmax regression on kept rows and rows drawn of recovered class Gaussians.

    Attributes:
        outliers: Share of each class that is left out, in [0, 1).
        borrow: Rows that the mean of a tail class takes from head classes (a), >= 0. Its
            covariance takes as many as there are features (b), or none where this is 0.
        fill: Rows of each class in the end, in sizes of the largest class, >= 0; 0 draws none.
        C: Inverse strength of the regression's penalty on features of mean variance 1, > 0.
        seed: Draws the rows.
    """

    outliers: float = 0.2
    borrow: float = 2.0
    fill: float = 2.0
    C: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.outliers < 1:
            raise ValueError(f"outliers is {self.outliers}; it must be at least 0 and below 1")
        if not (0 <= self.borrow < np.inf and 0 <= self.fill < np.inf):
            raise ValueError(f"borrow {self.borrow} and fill {self.fill} must be finite, >= 0")
        if not 0 < self.C < np.inf:
            raise ValueError(f"C is {self.C}; it must be above 0 and finite")

    def fit(self, data: Data) -> Linear:
        known = learnable(data, self)
        seen = np.flatnonzero(known.counts())
        x = known.x.astype(np.float64)
        centre, scale = x.mean(0), float(np.sqrt(x.var(0).mean())) or 1.0
        worlds = self._worlds((x - centre) / scale, known.y, seen)
        rng = np.random.default_rng(self.seed)
        full = round(self.fill * max(len(w.rows) for w in worlds))
        rows = [np.vstack([w.rows, w.drawn(full - len(w.rows), rng)]) for w in worlds]
        y = np.repeat(np.arange(len(seen)), [len(r) for r in rows])
        scores = np.hstack([np.vstack(rows), np.ones((len(y), 1))]).astype(np.float32)
        fits = Regressions.of(scores, y, np.ones((1, len(y)), bool))
        theta = fits.solve(fits.start(), 1 / self.C, TOLERANCE)[0][0]
        weight, bias = np.zeros((data.k, x.shape[1])), np.full(data.k, -np.inf)
        weight[seen], bias[seen] = theta[:, :-1] / scale, theta[:, -1]
        return Linear.about(centre, weight, bias)

    def means(self, data: Data) -> Rows:
        """The recovered mean of each class, `[k, d]`; nan where a class has no row."""
        known = learnable(data, self)
        seen = np.flatnonzero(known.counts())
        out = np.full((data.k, known.x.shape[1]), np.nan)
        out[seen] = [w.mean for w in self._worlds(known.x.astype(np.float64), known.y, seen)]
        return out

    def _worlds(self, x: Rows, y: Labels, seen: Labels) -> list[_World]:
        kept = [_kept(x[y == c], self.outliers) for c in seen]
        spread = BROADEN * float(np.mean(x.var(0)))
        own = [_World(rows, rows.mean(0), ((rows, 1.0),), spread) for rows in kept]
        sizes = np.array([len(rows) for rows in kept])
        heads = [w for w in own if len(w.rows) >= sizes.mean()]
        if not self.borrow:
            return own
        return [w if w in heads else _borrowed(w, heads, self.borrow) for w in own]


@dataclass(frozen=True, eq=False)
class _World:
    """A class: rows kept `[n, d]`, its mean, and its covariance as a sum over rows of classes.

    Attributes:
        parts: Rows whose covariance, about their own mean, counts with that share.
        spread: Variance added to every feature.
    """

    rows: Rows
    mean: Rows
    parts: tuple[tuple[Rows, float], ...]
    spread: float

    def drawn(self, n: int, rng: np.random.Generator) -> Rows:
        """`n` rows of the Gaussian (none where `n` is below 1).

        A sum of n_j - 1 centred rows under independent standard normals has their covariance, so
        that no matrix need be factored, whatever the number of features.
        """
        n = max(0, n)
        out = self.mean + np.sqrt(self.spread) * rng.standard_normal((n, len(self.mean)))
        for rows, share in self.parts:
            size = np.sqrt(share / max(1, len(rows) - 1))
            out += size * rng.standard_normal((n, len(rows))) @ (rows - rows.mean(0))
        return np.asarray(out)


def _kept(rows: Rows, share: float) -> Rows:
    """The rows of one class without the share that lies in the thinnest surroundings."""
    left = len(rows) - round(share * len(rows))
    if len(rows) < 3 or left == len(rows):  # of two rows, neither is the outlier
        return rows
    from sklearn.neighbors import LocalOutlierFactor

    many = max(NEIGHBOURS, round(QUARTER * len(rows)))  # wrong rows of one kind sit together too
    once, at = np.unique(rows, axis=0, return_inverse=True)  # copies would make all others odd
    if len(once) < 3:
        return rows
    judge = LocalOutlierFactor(n_neighbors=min(many, len(once) - 1)).fit(once)
    order = np.argsort(-judge.negative_outlier_factor_[at.ravel()], kind="stable")
    return rows[np.sort(order[: max(1, left)])]


def _borrowed(tail: _World, heads: list[_World], borrow: float) -> _World:
    """A tail class with the help of its nearest head classes."""
    away = np.array([np.sum((tail.mean - head.mean) ** 2) for head in heads])
    near = np.argsort(away, kind="stable")[:NEAREST]
    weight = np.exp(-(away[near] - away[near[0]]) / (away[near].mean() or 1.0))
    weight /= weight.sum()
    lent = weight @ np.stack([heads[j].mean for j in near])
    n, d = tail.rows.shape
    mean = (n * tail.mean + borrow * lent) / (n + borrow)
    mine = (n - 1) / (n - 1 + d)
    parts = ((heads[j].rows, (1 - mine) * float(w)) for j, w in zip(near, weight, strict=True))
    return _World(tail.rows, mean, ((tail.rows, mine), *parts), tail.spread)
