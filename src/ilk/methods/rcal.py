"""RCAL: Gaussians of the clean classes, estimated from wrong and unbalanced labels.

Manyi Zhang, Xuyang Zhao, Jun Yao, Chun Yuan, Weiran Huang, 2023, When Noisy Labels Meet Long Tail
Dilemmas: A Representation Calibration Method, arXiv 2211.10955.

1. Of the rows labelled c, outliers are left out: the paper's have the largest local outlier factor.
2. The rest give a mean m_c and a covariance S_c. A tail class borrows from its nearest head classes
   j, with weights w_j that decrease with distance:
       m_c <- (n_c m_c + a sum_j w_j m_j) / (n_c + a),
       S_c <- ((n_c - 1) S_c + b sum_j w_j S_j) / (n_c - 1 + b) + e I
3. Samples of these Gaussians fill the classes up to one size, and a softmax regression is fitted to
   the remaining rows and the samples.

Departures: the constants are choices of this implementation, and so are the pseudo-counts a and b
(a fixed fraction would take as much from a class of 3 rows as from one of 300). A head class has at
least the mean number of rows. Features are frozen, so the contrastive term and mixup are left out.

Outliers are by default the rows whose label a Gaussian classifier doubts that was fitted to other
folds, with equal priors: those for which it prefers another class, at most half of a class. Wrong
rows lie where another class lies, and a factor of the rows of one class sees that only where
classes are narrow and far apart (`ilk bench wrong_labels` compares both with none). With the
factor, a row is compared with a quarter of its class, or 20 rows if that is more, because wrong
rows of one class lie together and would support each other. If most labels of a tail class are
wrong, the few correct ones are not found either way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.core.contracts import MethodTags, labelled_features
from ilk.core.data import Data, Labels
from ilk.core.linear_models import Linear
from ilk.maths import folds
from ilk.maths.row_discriminant import fit_rows_discriminant
from ilk.maths.softmax_regression import SoftmaxRegressions

Matrix = NDArray[np.float64]  # [n, d]

N_FOLDS = 5  # of the classifier that doubts labels
MIN_ROWS = 3  # classes with fewer have no outlier

NEIGHBOURS, NEIGHBOUR_FRACTION = 20, 0.25  # a row is compared with the larger of both
NEAREST_HEADS = 3  # number of head classes that a tail class borrows from
COVARIANCE_RIDGE = 0.01  # e, relative to the mean variance of a feature
TOLERANCE = 1e-6  # relative tolerance of the regression


@dataclass(frozen=True)
class RCAL(MethodTags):
    """Softmax regression on rows without outliers and on samples of class Gaussians.

    Attributes:
        contamination: Fraction of each class that is left out, in [0, 1), at most; the local
            outlier factor leaves out exactly that. 0 leaves none out.
        borrowed_rows: Pseudo-count a of the head classes in the mean of a tail class, >= 0. In the
            covariance it is the number of features (b), or 0 if this is 0.
        target_size_ratio: Final size of each class, relative to the largest class, >= 0; 0 samples
            none.
        C: Inverse penalty of the regression on features of mean variance 1, > 0.
        seed: Seed of the samples and of the folds.
        local_factor: Leave out the rows with the largest local outlier factor, as in the paper,
            instead of those whose label a classifier of other rows doubts.
    """

    contamination: float = 0.5
    borrowed_rows: float = 2.0
    target_size_ratio: float = 2.0
    C: float = 0.01
    seed: int = 0
    local_factor: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.contamination < 1:
            raise ValueError(
                f"contamination is {self.contamination}; it must be at least 0 and below 1"
            )
        if not (0 <= self.borrowed_rows < np.inf and 0 <= self.target_size_ratio < np.inf):
            raise ValueError(
                f"borrowed_rows {self.borrowed_rows} and target_size_ratio "
                f"{self.target_size_ratio} must be finite and at least 0"
            )
        if not 0 < self.C < np.inf:
            raise ValueError(f"C is {self.C}; it must be above 0 and finite")

    def fit(self, data: Data) -> Linear:
        known = labelled_features(data, self)
        present = np.flatnonzero(known.count_labels())
        x = known.x.astype(np.float64)
        centre, scale = x.mean(0), float(np.sqrt(x.var(0).mean())) or 1.0
        class_gaussians = self._fit_class_gaussians((x - centre) / scale, known, present)
        rng = np.random.default_rng(self.seed)
        target_size = round(self.target_size_ratio * max(len(w.rows) for w in class_gaussians))
        rows = [
            np.vstack([w.rows, w.sample(target_size - len(w.rows), rng)]) for w in class_gaussians
        ]
        y = np.repeat(np.arange(len(present)), [len(r) for r in rows])
        scores = np.hstack([np.vstack(rows), np.ones((len(y), 1))]).astype(np.float32)
        problem = SoftmaxRegressions.from_masks(scores, y, np.ones((1, len(y)), bool))
        theta = problem.solve(problem.init_parameters(), 1 / self.C, TOLERANCE)[0][0]
        weight, bias = np.zeros((data.k, x.shape[1])), np.full(data.k, -np.inf)
        weight[present], bias[present] = theta[:, :-1] / scale, theta[:, -1]
        return Linear.from_centred(centre, weight, bias)

    def estimate_means(self, data: Data) -> Matrix:
        """Return the estimated mean of each class, `[k, d]`; nan for classes without rows."""
        known = labelled_features(data, self)
        present = np.flatnonzero(known.count_labels())
        out = np.full((data.k, known.x.shape[1]), np.nan)
        out[present] = [
            w.mean for w in self._fit_class_gaussians(known.x.astype(np.float64), known, present)
        ]
        return out

    def _fit_class_gaussians(self, x: Matrix, known: Data, present: Labels) -> list[_ClassGaussian]:
        """Return the Gaussian of each class, from rows `x [n, d]` that are those of `known`."""
        if self.contamination and not self.local_factor:
            is_kept = ~_find_doubtful(x, known, self.contamination, self.seed)
            class_rows = [x[is_kept & (known.y == c)] for c in present]
        else:
            class_rows = [_drop_outliers(x[known.y == c], self.contamination) for c in present]
        spread = COVARIANCE_RIDGE * float(np.mean(x.var(0)))
        class_gaussians = [
            _ClassGaussian(rows, rows.mean(0), ((rows, 1.0),), spread) for rows in class_rows
        ]
        sizes = np.array([len(rows) for rows in class_rows])
        heads = [w for w in class_gaussians if len(w.rows) >= sizes.mean()]
        if not self.borrowed_rows:
            return class_gaussians
        return [
            w if w in heads else _transfer_from_heads(w, heads, self.borrowed_rows)
            for w in class_gaussians
        ]


@dataclass(frozen=True, eq=False)
class _ClassGaussian:
    """A class: its rows without outliers `[n, d]`, its mean `[d]`, and its covariance.

    Attributes:
        covariance_terms: Rows and weights: the covariance is the weighted sum of theirs.
        ridge: Variance added to every feature.
    """

    rows: Matrix
    mean: Matrix
    covariance_terms: tuple[tuple[Matrix, float], ...]
    ridge: float

    def sample(self, n: int, rng: np.random.Generator) -> Matrix:
        """Draw `n` rows of the Gaussian, `[n, d]`; none if `n` is below 1.

        Centred rows weighted by independent standard normals have their covariance, so that no
        matrix is factored, whatever the number of features.
        """
        n = max(0, n)
        out = self.mean + np.sqrt(self.ridge) * rng.standard_normal((n, len(self.mean)))
        for rows, proportion in self.covariance_terms:
            scale = np.sqrt(proportion / max(1, len(rows) - 1))
            out += scale * rng.standard_normal((n, len(rows))) @ (rows - rows.mean(0))
        return np.asarray(out)


def _find_doubtful(x: Matrix, known: Data, contamination: float, seed: int) -> NDArray[np.bool_]:
    """Which rows `x [n, d]` a classifier of other folds gives another class than their label."""
    y, is_doubtful = known.y, np.zeros(len(known), bool)
    n_folds = folds.count_folds(y, N_FOLDS, known.group)
    if n_folds < 2:
        return is_doubtful
    fold, margin = folds.assign_folds(y, n_folds, seed, known.group), np.zeros(len(y))
    for f in range(n_folds):
        train, rows = fold != f, np.flatnonzero(fold == f)
        rule = fit_rows_discriminant(x[train], y[train], known.k, uniform=True)
        logits = rule.logits(np.asarray(x[rows], np.float32))
        own = logits[np.arange(len(rows)), y[rows]].copy()
        logits[np.arange(len(rows)), y[rows]] = -np.inf
        margin[rows] = own - logits.max(1)
    for c in np.flatnonzero(known.count_labels() >= MIN_ROWS):
        rows = np.flatnonzero(y == c)
        worst = rows[np.argsort(margin[rows], kind="stable")[: int(contamination * len(rows))]]
        is_doubtful[worst[margin[worst] < 0]] = True
    return is_doubtful


def _drop_outliers(rows: Matrix, contamination: float) -> Matrix:
    """The rows of one class without those with the largest local outlier factor."""
    n_kept = len(rows) - round(contamination * len(rows))
    if len(rows) < MIN_ROWS or n_kept == len(rows):
        return rows
    from sklearn.neighbors import LocalOutlierFactor

    n_neighbors = max(NEIGHBOURS, round(NEIGHBOUR_FRACTION * len(rows)))
    unique_rows, inverse = np.unique(rows, axis=0, return_inverse=True)  # copies distort the factor
    if len(unique_rows) < MIN_ROWS:
        return rows
    lof = LocalOutlierFactor(n_neighbors=min(n_neighbors, len(unique_rows) - 1)).fit(unique_rows)
    order = np.argsort(-lof.negative_outlier_factor_[inverse.ravel()], kind="stable")
    return rows[np.sort(order[: max(1, n_kept)])]


def _transfer_from_heads(
    tail: _ClassGaussian, heads: list[_ClassGaussian], borrowed_rows: float
) -> _ClassGaussian:
    """A tail class whose mean and covariance borrow from its nearest head classes."""
    distances = np.array([np.sum((tail.mean - head.mean) ** 2) for head in heads])
    nearest = np.argsort(distances, kind="stable")[:NEAREST_HEADS]
    weight = np.exp(
        -(distances[nearest] - distances[nearest[0]]) / (distances[nearest].mean() or 1.0)
    )
    weight /= weight.sum()
    head_mean = weight @ np.stack([heads[j].mean for j in nearest])
    n, d = tail.rows.shape
    mean = (n * tail.mean + borrowed_rows * head_mean) / (n + borrowed_rows)
    own_weight = (n - 1) / (n - 1 + d)
    parts = (
        (heads[j].rows, (1 - own_weight) * float(w)) for j, w in zip(nearest, weight, strict=True)
    )
    return _ClassGaussian(tail.rows, mean, ((tail.rows, own_weight), *parts), tail.ridge)
