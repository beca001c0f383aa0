"""Latent label shift: classes discovered from domains, against k-means on the same features.

Entry latent-label-shift. Five classes of MNIST and of Fashion-MNIST, 30 principal components, eight
domains of 1,000 rows with class priors from a Dirichlet distribution, redrawn until the matrix of
priors has a condition number of at most 8 (the paper caps it too). No label is used. Classes are
matched to columns once, over all rows. `misleading features` adds four features that put every row
into a random one of 16 far corners, so that similarity says nothing about the class. `equal priors`
gives all domains the same priors: nothing is left to learn from.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks import datasets
from benchmarks.claims import Claim, make_table
from benchmarks.unknown_classes.half_unknown_sets import SEEDS
from ilk.core.data import Data, Features, Labels
from ilk.core.errors import Unavailable
from ilk.discovery.latent_label_shift import LatentLabelShift, match_columns
from ilk.maths.gaussian import Matrix

N_DOMAINS, N_CLASSES, ROWS_PER_DOMAIN = 8, 5, 1000
MAX_CONDITION = 8.0  # of the matrix of priors
ALPHAS = {"Dirichlet 0.5": 0.5, "Dirichlet 3": 3.0}
OURS, DOMAIN_UNKNOWN, KMEANS = (
    "latent label shift",
    "latent label shift, unknown domain",
    "k-means",
)
FILE = "discovery/latent_label_shift.py"


def make_tables(small: bool = False) -> list[dict[str, Any]]:
    """Return matched accuracy and prior error, by data set and condition."""
    if small:
        return compare_methods("digits", datasets.read_digits(), "Dirichlet 0.5", range(2), 100)
    results = []
    for name, load in (("MNIST", datasets.read_mnist), ("Fashion-MNIST", datasets.read_fashion)):
        try:
            data = load()
        except Unavailable:
            continue
        for condition in (*ALPHAS, "misleading features", "equal priors"):
            results += compare_methods(name, data, condition, SEEDS, ROWS_PER_DOMAIN)
    return results


def compare_methods(
    name: str, data: Data, condition: str, seeds: range, n_rows: int
) -> list[dict[str, Any]]:
    """Return the two tables of one data set under one condition."""
    accuracies: dict[str, list[float]] = {OURS: [], DOMAIN_UNKNOWN: [], KMEANS: []}
    errors: dict[str, list[float]] = {OURS: [], KMEANS: []}
    for seed in seeds:
        sample = draw_domains(data, condition, n_rows, seed)
        for method, (answer, priors) in predict_columns(sample, seed).items():
            matching = match_columns(np.eye(N_CLASSES)[answer], sample)  # class of each column
            accuracies[method].append(float(np.mean(matching[sample.y] == answer)))
            if method in errors:
                errors[method].append(
                    float(np.abs(priors[matching] - class_proportions(sample)).sum(0).mean())
                )
    claims = [Claim("latent-label-shift", FILE, OURS, KMEANS)]
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
        KMEANS: (cluster.astype(np.int64), cluster_priors),
    }


def class_proportions(data: Data) -> Matrix:
    """Return the fraction of each class in each domain, `[k, domains]`."""
    parts = [np.bincount(data.y[data.domain == d], minlength=data.k) for d in range(N_DOMAINS)]
    return np.stack([part / part.sum() for part in parts], 1)


def draw_domains(data: Data, condition: str, n_rows: int, seed: int) -> Data:
    """Draw rows of the first classes in domains with priors of `condition`, without replacement."""
    from sklearn.decomposition import PCA

    rng = np.random.default_rng(seed)
    priors = _draw_proportions(ALPHAS.get(condition, 0.5), rng)
    if condition == "equal priors":
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
    if condition == "misleading features":
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
