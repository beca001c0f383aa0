"""Finds classes from domains alone: how often each occurs differs, how each looks does not.

Manley Roberts, Pranav Mani, Saurabh Garg, Zachary C. Lipton, 2022, Unsupervised Learning under
Latent Label Shift, arXiv 2207.13179 (discriminate, discretise, factorise, adjust).

    Q = C W     Q [bins, domains]  how often a domain falls into a bin of p(d | x)
                C [bins, k]        p(bin | y),  columns that sum to 1
                W [k, domains]     p_d(y),      columns that sum to 1
    p(d | y) = W[y, d] / sum_d' W[y, d']
    p(d | x) = sum_y p(d | y) p(y | x)   is solved for p(y | x)
    p_d(y | x) = p(d | y) p(y | x) / sum_y' p(d | y') p(y' | x)

The discriminator is a logistic regression on the features, cross-fitted, so that bins are made of
p(d | x) of rows that it did not learn from; they are compared by the roots of their probabilities.
Where the paper takes a pseudo-inverse, which gives probabilities below 0, p(y | x) is solved for by
least squares on the simplex, with steps that keep it there. Domains count alike however many rows
each has. At least as many domains as classes are needed, and each
class must be all there is in some region. Labels are not looked at but to name the columns: rows
that have one decide which column stands for which class. Where what is alike belongs together,
k-means needs no domains and is often better; where it does not, only this finds the classes
(`ilk bench unknown_classes`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.special import softmax

from ilk.data import Data, Features, Labels, Logits, one_hot
from ilk.errors import InputError
from ilk.maths.folds import stratified
from ilk.maths.gaussian import Matrix
from ilk.metrics import log_loss
from ilk.models import Facts, Linear, affine

LEAST = 1e-6  # probability below which a class is as good as ruled out
BINS = 2  # a class
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)  # of the discriminator, as scikit-learn counts them
ROUNDS = 300  # of least squares on the simplex; the gain is at most a share of 1e-4 a round by then


@dataclass(frozen=True, eq=False)
class Mixture:
    """A discriminator of domains, and how each class is spread over them.

    Attributes:
        weight: Of the discriminator, `[domains, d]` float32.
        bias: `[domains]` float32.
        spread: p(d | y), `[domains, k]` float64, columns that sum to 1.
        shares: p_d(y), `[k, domains]` float64, columns that sum to 1.
        domains: What `Data.domain` calls them, `[domains]` int64, rising.
    """

    weight: Features
    bias: Features
    spread: Matrix
    shares: Matrix
    domains: Labels

    def probabilities(self, x: Features, domain: Labels | None = None) -> Logits:
        """p(y | x) of features `[n, d]`, or p_d(y | x) where the domain `[n]` is told, `[n, k]`.

        Raises:
            InputError: A domain is none of those learnt from.
        """
        p = unmixed(softmax(affine(x, self.weight, self.bias), axis=1), self.spread)
        if domain is None:
            return p
        if len(strange := np.setdiff1d(domain, self.domains)):
            raise InputError(f"domain {strange[0]} is none of those learnt from: {self.domains}")
        told = p * self.spread[np.searchsorted(self.domains, domain)]
        return np.asarray(told / np.maximum(told.sum(1, keepdims=True), LEAST))

    def logits(self, x: Features) -> Logits:
        """Log p(y | x), `[n, k]` float64, at least that of one in a million."""
        return np.log(np.maximum(self.probabilities(x), LEAST))


@dataclass(frozen=True)
class LatentLabelShift(Facts):
    """As many classes as `Data.classes` has, from the rows' domains.

    Attributes:
        bins: Of p(d | x); 0 takes two a class.
        restarts: Of the factorisation; the closest is taken.
        seed: Of parts, bins and starts.
    """

    needs_labels: ClassVar[bool] = False
    unnamed: ClassVar[bool] = True

    bins: int = 0
    restarts: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        if self.bins < 0 or self.restarts < 1:
            raise ValueError(
                f"bins is {self.bins}, restarts {self.restarts}; at least 0 and 1 are needed"
            )

    def fit(self, data: Data) -> Mixture:
        if not len(data):
            raise InputError("LatentLabelShift needs rows and there are none; give a few a domain")
        domains, domain, rows = np.unique(data.domain, return_inverse=True, return_counts=True)
        if rows.min() < 2:
            raise InputError(
                f"domain {domains[rows.argmin()]} has one row; each needs two: to learn, to judge"
            )
        bins = self._bins(data, len(domains))
        rule, held = discriminator(np.asarray(data.x, np.float64), domain, self.seed)
        shares = self._factorised(held, domain, (bins, data.k))
        spread = shares.T / np.maximum(shares.sum(1), LEAST)
        order = named(unmixed(held, spread), data)
        return Mixture(rule.weight, rule.bias, spread[:, order], shares[order], domains)

    def _bins(self, data: Data, r: int) -> int:
        if r < data.k or r < 2:
            raise InputError(
                f"LatentLabelShift tells {data.k} classes apart by domains whose shares differ, "
                f"and there are {r}; it needs as many domains as classes, at least two"
            )
        bins = self.bins or BINS * data.k
        if bins < data.k:
            raise InputError(f"{bins} bins cannot hold {data.k} classes; ask for more bins")
        if len(data) < 2 * bins:
            raise InputError(f"{len(data)} rows do not fill {bins} bins; ask for fewer bins")
        return bins

    def _factorised(self, p: Matrix, domain: Labels, asked: tuple[int, int]) -> Matrix:
        """p_d(y), `[k, domains]`, out of so many bins and classes."""
        import warnings

        from sklearn.cluster import KMeans
        from sklearn.decomposition import NMF
        from sklearn.exceptions import ConvergenceWarning

        bins, k = asked
        bin_ = KMeans(bins, n_init=5, random_state=self.seed).fit_predict(np.sqrt(p))
        q = one_hot(bin_, bins).T @ one_hot(domain, p.shape[1])
        q /= q.sum(0)
        found = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the closest of many is taken
            for restart in range(self.restarts):
                made = NMF(k, init="random", random_state=self.seed + restart, max_iter=500)
                c = made.fit_transform(q)
                found.append((made.reconstruction_err_, c, made.components_))
        _, c, w = min(found, key=lambda f: f[0])
        w = w * c.sum(0)[:, None]  # what makes the columns of C sum to 1
        return np.asarray(w / np.maximum(w.sum(0), LEAST))


def discriminator(x: Matrix, domain: Labels, seed: int) -> tuple[Linear, Matrix]:
    """Logistic regression of the domain, and p(d | x) `[n, domains]` of rows it did not learn from.

    Its strength is what makes those probabilities best; domains count alike.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    part, tried = stratified(domain, 2, seed), []
    for strength in STRENGTHS:
        made = make_pipeline(
            StandardScaler(), LogisticRegression(C=strength, class_weight="balanced", max_iter=1000)
        )
        p = np.empty((len(x), int(domain.max()) + 1))
        for f in (0, 1):
            p[part == f] = made.fit(x[part != f], domain[part != f]).predict_proba(x[part == f])
        tried.append((log_loss(domain, p), strength, p))
    _, strength, p = min(tried, key=lambda t: t[0])
    made.set_params(logisticregression__C=strength).fit(x, domain)
    scaler, rule = made[0], made[1]
    coef, free = rule.coef_, rule.intercept_
    if len(coef) == 1:  # two domains have one row of weights there
        coef, free = np.vstack([-coef, coef]) / 2, np.append(-free, free) / 2
    weight = coef / scaler.scale_
    return Linear.about(scaler.mean_, weight, free), p


def unmixed(p: Matrix, spread: Matrix) -> Matrix:
    """Weights `[n, k]` on the simplex with the least squares of `p [n, r] - weights @ spread.T`.

    Exponentiated gradient, in steps that a bound on the curvature makes safe.
    """
    n, k = len(p), spread.shape[1]
    gram, pull = spread.T @ spread, p @ spread
    step = 1.0 / max(float(np.abs(gram).max()), 1e-12)
    log = np.zeros((n, k))
    for _ in range(ROUNDS):
        weights = softmax(log, axis=1)
        log -= step * (weights @ gram - pull)
    return np.asarray(softmax(log, axis=1))


def named(p: Matrix, data: Data) -> Labels:
    """Which column of `p [n, k]` stands for each class: what labelled rows agree with most."""
    known = data.y >= 0
    if not known.any():
        return np.arange(data.k)
    votes = one_hot(data.y[known], data.k).T @ one_hot(p[known].argmax(1), data.k)
    return np.asarray(linear_sum_assignment(-votes)[1])
