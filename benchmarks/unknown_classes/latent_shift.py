"""Latent label shift: classes discovered from domains, against k-means on the same features.

Entry latent-label-shift. Five classes of MNIST, of Fashion-MNIST and of notMNIST (letters A to E in
many typefaces), 30 principal components, eight domains of 1,000 rows (notMNIST 400) with class
priors from a Dirichlet distribution, redrawn until the matrix of
priors has a condition number of at most 8 (the paper caps it too). No label is used. Classes are
matched to columns once, over all rows. `misleading features` adds four features that put every row
into a random one of 16 far corners, so that similarity says nothing about the class. `equal priors`
gives all domains the same priors: nothing is left to learn from. `random starts` is the same method
with the factorization of the paper: nonnegative matrix factorization, best of ten random starts.
"""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks import datasets
from benchmarks.claims import Claim, make_table
from benchmarks.unknown_classes.half_unknown_sets import SEEDS
from ilk.core.data import Data, Features, Labels
from ilk.core.errors import Unavailable
from ilk.discovery import latent_label_shift
from ilk.discovery.latent_label_shift import LatentLabelShift, match_columns
from ilk.maths.gaussian import Matrix

N_DOMAINS, N_CLASSES, ROWS_PER_DOMAIN = 8, 5, 1000
N_STARTS = 10  # of the factorization of the paper
MAX_CONDITION = 8.0  # of the matrix of priors
ALPHAS = {"Dirichlet 0.5": 0.5, "Dirichlet 3": 3.0}
OURS, DOMAIN_UNKNOWN, KMEANS = (
    "latent label shift",
    "latent label shift, unknown domain",
    "k-means",
)
RANDOM_STARTS = "latent label shift, random starts"
MISLEADING, EQUAL = "misleading features", "equal priors"
FILE = "discovery/latent_label_shift.py"


def make_tables(small: bool = False) -> list[dict[str, Any]]:
    """Return matched accuracy and prior error, by data set and condition."""
    if small:
        return compare_methods("digits", datasets.read_digits(), "Dirichlet 0.5", range(2), 100)
    results = []
    for name, load, n_rows, conditions in (
        ("MNIST", datasets.read_mnist, ROWS_PER_DOMAIN, (*ALPHAS, MISLEADING, EQUAL)),
        ("Fashion-MNIST", datasets.read_fashion, ROWS_PER_DOMAIN, (*ALPHAS, MISLEADING)),
        ("notMNIST", datasets.read_notmnist, 400, (*ALPHAS, MISLEADING)),
    ):
        try:
            data = load()
        except Unavailable:
            continue
        for condition in conditions:
            results += compare_methods(name, data, condition, SEEDS, n_rows)
    return results


def compare_methods(
    name: str, data: Data, condition: str, seeds: range, n_rows: int
) -> list[dict[str, Any]]:
    """Return the two tables of one data set under one condition."""
    accuracies: dict[str, list[float]] = {
        name: [] for name in (OURS, DOMAIN_UNKNOWN, RANDOM_STARTS, KMEANS)
    }
    errors: dict[str, list[float]] = {name: [] for name in (OURS, RANDOM_STARTS, KMEANS)}
    for seed in seeds:
        sample = draw_domains(data, condition, n_rows, seed)
        for method, (answer, priors) in predict_columns(sample, seed).items():
            matching = match_columns(np.eye(N_CLASSES)[answer], sample)  # class of each column
            accuracies[method].append(float(np.mean(matching[sample.y] == answer)))
            if method in errors:
                errors[method].append(
                    float(np.abs(priors[matching] - class_proportions(sample)).sum(0).mean())
                )
    claims = [
        Claim("latent-label-shift", FILE, OURS, baseline) for baseline in (KMEANS, RANDOM_STARTS)
    ]
    setting = f"{name}, {condition}"
    return [
        make_table(setting, "matched accuracy", accuracies, claims),
        make_table(setting, "prior error (sum of absolute differences)", errors, claims, "lower"),
    ]


def predict_columns(data: Data, seed: int) -> dict[str, tuple[Labels, Matrix]]:
    """Return column of each row `[n]` and priors `[k, domains]`, by method, without labels."""
    from sklearn.cluster import KMeans

    unlabelled = Data(data.x, np.full(len(data), -1), data.classes, domain=data.domain)
    model = LatentLabelShift(seed=seed).fit(unlabelled)
    with_domain, without_domain = (
        model.predict_proba(data.x, data.domain),
        model.predict_proba(data.x),
    )
    cluster = KMeans(N_CLASSES, n_init=10, random_state=seed).fit_predict(data.x)
    cluster_priors = class_proportions(Data(data.x, cluster, data.classes, domain=data.domain))
    return {
        OURS: (with_domain.argmax(1), model.class_priors),
        DOMAIN_UNKNOWN: (without_domain.argmax(1), model.class_priors),
        RANDOM_STARTS: _predict_with_random_starts(unlabelled, seed),
        KMEANS: (cluster.astype(np.int64), cluster_priors),
    }


def _predict_with_random_starts(data: Data, seed: int) -> tuple[Labels, Matrix]:
    """Return columns and priors of the method with the factorization of the paper."""
    with patch.object(latent_label_shift, "factorize_separable", partial(factorize, seed=seed)):
        model = LatentLabelShift(seed=seed).fit(data)
    return model.predict_proba(data.x, data.domain).argmax(1), model.class_priors


def factorize(q: Matrix, k: int, seed: int) -> tuple[Matrix, Matrix]:
    """Factorize `q [bins, domains]` from ten random starts; return the best with normal columns."""
    from sklearn.decomposition import NMF

    candidates = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of convergence; the best of several is kept
        for start in range(N_STARTS):
            nmf = NMF(k, init="random", random_state=seed + start, max_iter=500)
            candidates.append((nmf.fit_transform(q), nmf.components_, nmf.reconstruction_err_))
    c, w, _ = min(candidates, key=lambda candidate: candidate[2])
    w = w * c.sum(0)[:, None]
    return c / np.maximum(c.sum(0), 1e-12), w / np.maximum(w.sum(0), 1e-12)


def class_proportions(data: Data) -> Matrix:
    """Return the fraction of each class in each domain, `[k, domains]`."""
    parts = [np.bincount(data.y[data.domain == d], minlength=data.k) for d in range(N_DOMAINS)]
    return np.stack([part / part.sum() for part in parts], 1)


def draw_domains(data: Data, condition: str, n_rows: int, seed: int) -> Data:
    """Draw rows of the first classes in domains with priors of `condition`, without replacement."""
    from sklearn.decomposition import PCA

    rng = np.random.default_rng(seed)
    priors = _draw_proportions(ALPHAS.get(condition, 0.5), rng)
    if condition == EQUAL:
        priors = np.full_like(priors, 1 / N_CLASSES)
    remaining = [list(rng.permutation(np.flatnonzero(data.y == c))) for c in range(N_CLASSES)]
    selected: list[int] = []
    domain: list[int] = []
    for d in range(N_DOMAINS):
        for c, count in enumerate(rng.multinomial(n_rows, priors[d])):
            batch, remaining[c] = remaining[c][:count], remaining[c][count:]
            selected += batch
            domain += [d] * len(batch)
    x = PCA(30, random_state=0).fit_transform(data.x[selected]).astype(np.float32)
    if condition == MISLEADING:
        x = _add_corners(x, rng)
    return Data(x, data.y[selected], data.classes[:N_CLASSES], domain=np.array(domain))


def _draw_proportions(alpha: float, rng: np.random.Generator) -> Matrix:
    while True:
        priors = rng.dirichlet(np.full(N_CLASSES, alpha), N_DOMAINS)
        if np.linalg.cond(priors) <= MAX_CONDITION:
            return priors


def _add_corners(x: Features, rng: np.random.Generator) -> Features:
    """Add four features, each at random far to one side or the other."""
    offset = 5 * float(x.std(0).max()) * rng.choice([-1.0, 1.0], (len(x), 4))
    return np.column_stack([x, offset + rng.standard_normal(offset.shape)]).astype(np.float32)
