"""Find classes from domains: class priors differ between domains, classes look the same in all.

Manley Roberts, Pranav Mani, Saurabh Garg, Zachary C. Lipton, 2022, Unsupervised Learning under
Latent Label Shift, arXiv 2207.13179 (discriminate, discretize, factorize, adjust).

    Q = C W     Q [bins, domains]  p(bin | domain), with bins of p(d | x)
                C [bins, k]        p(bin | y),  columns sum to 1
                W [k, domains]     p_d(y),      columns sum to 1
    p(d | y) = W[y, d] / sum_d' W[y, d']
    p(d | x) = sum_y p(d | y) p(y | x)   is solved for p(y | x)
    p_d(y | x) = p(d | y) p(y | x) / sum_y' p(d | y') p(y' | x)

The discriminator is a logistic regression on the features, cross-fitted, so that bins are made of
out-of-fold p(d | x); distances between these are those of their square roots (Hellinger). All
domains have equal weight.

Departures:

- The paper factorizes by nonnegative matrix factorization from random starts, which is not unique:
  with the same error it finds other classes. The condition under which the paper proves that
  classes can be found, an anchor region for each, is what
  `ilk.maths.separable_factorization` rests on: it starts from the anchors.
- The paper solves for p(y | x) with a pseudo-inverse, which gives negative probabilities; here it
  is least squares on the simplex.
- Two bins per class by default; the authors' code has 30 or 60.

At least as many domains as classes are needed, and each class must be the only one in some region.
Labels only name the columns: labelled rows decide which column is which class. Where classes form
clusters, k-means needs no domains.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ilk.core.contracts import DiscoveryTags, check_weights
from ilk.core.data import Data, Features, Labels, Logits, one_hot
from ilk.core.errors import InputError
from ilk.core.linear_models import Linear, apply_affine
from ilk.core.metrics import log_loss, softmax
from ilk.maths.folds import assign_folds
from ilk.maths.gaussian import Matrix
from ilk.maths.separable_factorization import factorize_separable

MIN_PROBABILITY = 1e-6  # lower bound on class probabilities
BINS_PER_CLASS = 2
CANDIDATE_CS = (1e-3, 1e-2, 1e-1, 1.0)  # inverse regularization strengths of the discriminator
N_ITER = (
    300  # of least squares on the simplex; by then an iteration gains less than 1e-4 of the loss
)


@dataclass(frozen=True, eq=False)
class DomainMixture:
    """A discriminator of m domains, and the distribution of each class over them.

    Attributes:
        weight: Weights of the discriminator, `[m, d]` float32.
        bias: Its biases, `[m]` float32.
        domain_given_class: p(d | y), `[m, k]` float64, columns sum to 1.
        class_priors: p_d(y), `[k, m]` float64, columns sum to 1.
        domains: Values of `Data.domain`, `[m]` int64, ascending.
    """

    kind: ClassVar[str] = "domain_mixture"
    shapes: ClassVar[dict[str, str]] = {
        "weight": "m d",
        "bias": "m",
        "domain_given_class": "m k",
        "class_priors": "k m",
        "domains": "m",
    }

    weight: Features
    bias: Features
    domain_given_class: Matrix
    class_priors: Matrix
    domains: Labels

    def predict_proba(self, x: Features, domains: Labels | None = None) -> Logits:
        """Return p(y | x), or p_d(y | x) if domains are given, `[n, k]`.

        Args:
            x: Features, `[n, d]`.
            domains: Domain of each row, `[n]`.

        Raises:
            InputError: If a domain is not one of `self.domains`.
        """
        p = unmix_probabilities(
            softmax(apply_affine(x, self.weight, self.bias), axis=1), self.domain_given_class
        )
        if domains is None:
            return p
        if len(unknown_domains := np.setdiff1d(domains, self.domains)):
            raise InputError(
                f"domain {unknown_domains[0]} is not one of the training domains: {self.domains}"
            )
        in_domain = p * self.domain_given_class[np.searchsorted(self.domains, domains)]
        return np.asarray(in_domain / np.maximum(in_domain.sum(1, keepdims=True), MIN_PROBABILITY))

    def logits(self, x: Features) -> Logits:
        """Return log p(y | x), `[n, k]` float64, at least the log of 1e-6."""
        return np.log(np.maximum(self.predict_proba(x), MIN_PROBABILITY))


@dataclass(frozen=True)
class LatentLabelShift(DiscoveryTags):
    """The classes of `Data.classes`, found from the domains of the rows.

    Attributes:
        bins: Number of bins of p(d | x), >= 0; 0 takes two per class.
        seed: Seed of folds and bins.
    """

    needs_labels = False

    bins: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.bins < 0:
            raise ValueError(f"bins is {self.bins}; it must be at least 0")

    def fit(self, data: Data) -> DomainMixture:
        if not len(data):
            raise InputError(
                "LatentLabelShift needs rows and there are none; add rows with domains"
            )
        if data.x.ndim != 2:
            raise InputError(
                f"LatentLabelShift reads features [n, d] and got an array of shape {data.x.shape}; "
                "encode the images first"
            )
        check_weights(data, self)
        data = data if (data.weight > 0).all() else data.take(data.weight > 0)
        domains, domain, rows = np.unique(data.domain, return_inverse=True, return_counts=True)
        if rows.min() < 2:
            raise InputError(
                f"domain {domains[rows.argmin()]} has one row; each domain needs at least two"
            )
        bins = self._count_bins(data, len(domains))
        rule, held_out_proba = fit_discriminator(
            np.asarray(data.x, np.float64), domain, self.seed, data.group
        )
        class_priors = self._factorize(held_out_proba, domain, (bins, data.k))
        domain_given_class = class_priors.T / np.maximum(class_priors.sum(1), MIN_PROBABILITY)
        order = match_columns(unmix_probabilities(held_out_proba, domain_given_class), data)
        return DomainMixture(
            rule.weight, rule.bias, domain_given_class[:, order], class_priors[order], domains
        )

    def _count_bins(self, data: Data, n_domains: int) -> int:
        if n_domains < data.k or n_domains < 2:
            raise InputError(
                f"LatentLabelShift needs as many domains as classes and at least two; there are "
                f"{n_domains} domains for {data.k} classes"
            )
        bins = self.bins or BINS_PER_CLASS * data.k
        if bins < data.k:
            raise InputError(f"{bins} bins are too few for {data.k} classes; increase bins")
        if len(data) < 2 * bins:
            raise InputError(f"{len(data)} rows are too few for {bins} bins; reduce bins")
        return bins

    def _factorize(self, p: Matrix, domain: Labels, shape: tuple[int, int]) -> Matrix:
        """Return p_d(y), `[k, m]`; `shape` is the number of bins and of classes."""
        from sklearn.cluster import KMeans

        bins, k = shape
        points = np.sqrt(p)
        if (n_distinct := len(np.unique(points, axis=0))) < bins:
            raise InputError(
                f"the discriminator gives {n_distinct} different answers, too few for {bins} bins: "
                "rows of all domains look alike; add rows, or reduce bins"
            )
        bin_ = KMeans(bins, n_init=5, random_state=self.seed).fit_predict(points)
        q = one_hot(bin_, bins).T @ one_hot(domain, p.shape[1])
        return factorize_separable(q / q.sum(0), k)[1]


def fit_discriminator(
    x: Matrix, domain: Labels, seed: int, groups: Labels | None = None
) -> tuple[Linear, Matrix]:
    """Fit a logistic regression of the domain and its out-of-fold probabilities.

    All domains have equal weight; the regularization strength is the one with the least
    out-of-fold log loss.

    Args:
        x: Features, `[n, d]`.
        domain: Domain index of each row, `[n]`.
        seed: Seed of the folds.
        groups: Group of each row, `[n]`; a group lies in one fold.

    Returns:
        The classifier of m domains, and out-of-fold p(d | x), `[n, m]`.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    fold, candidates = assign_folds(domain, 2, seed, groups), []
    for strength in CANDIDATE_CS:
        pipeline = make_pipeline(
            StandardScaler(), LogisticRegression(C=strength, class_weight="balanced", max_iter=1000)
        )
        p = np.empty((len(x), int(domain.max()) + 1))
        for f in (0, 1):
            p[fold == f] = pipeline.fit(x[fold != f], domain[fold != f]).predict_proba(x[fold == f])
        candidates.append((log_loss(domain, p), strength, p))
    _, strength, p = min(candidates, key=lambda t: t[0])
    pipeline.set_params(logisticregression__C=strength).fit(x, domain)
    scaler, rule = pipeline[0], pipeline[1]
    coef, intercept = rule.coef_, rule.intercept_
    if len(coef) == 1:  # scikit-learn has one row of weights for two classes
        coef, intercept = np.vstack([-coef, coef]) / 2, np.append(-intercept, intercept) / 2
    weight = coef / scaler.scale_
    return Linear.from_centred(scaler.mean_, weight, intercept), p


def unmix_probabilities(p: Matrix, domain_given_class: Matrix) -> Matrix:
    """Solve p(d | x) = sum_y p(d | y) p(y | x) for p(y | x), by least squares on the simplex.

    Exponentiated gradient descent, with a step size from a bound on the curvature.

    Args:
        p: p(d | x), `[n, m]`.
        domain_given_class: p(d | y), `[m, k]`.

    Returns:
        p(y | x), `[n, k]`; rows sum to 1.
    """
    n, k = len(p), domain_given_class.shape[1]
    gram, target = domain_given_class.T @ domain_given_class, p @ domain_given_class
    step = 1.0 / max(float(np.abs(gram).max()), 1e-12)
    log_weights = np.zeros((n, k))
    for _ in range(N_ITER):
        weights = softmax(log_weights, axis=1)
        log_weights -= step * (weights @ gram - target)
    return np.asarray(softmax(log_weights, axis=1))


def match_columns(p: Matrix, data: Data) -> Labels:
    """Return the column of `p` for each class, `[k]`, that labelled rows agree with most.

    Args:
        p: Probabilities of unnamed classes, `[n, k]`.
        data: The rows, with or without labels.
    """
    from scipy.optimize import linear_sum_assignment

    is_labelled = data.y >= 0
    if not is_labelled.any():
        return np.arange(data.k)
    votes = one_hot(data.y[is_labelled], data.k).T @ one_hot(p[is_labelled].argmax(1), data.k)
    return np.asarray(linear_sum_assignment(-votes)[1])
