"""Latent label shift: classes out of domains, beside k-means on the same features.

The catalogue's row latent-label-shift. Five classes of MNIST and of Fashion-MNIST, 30 principal
components, eight domains of 1,000 rows whose shares of the classes are drawn from a Dirichlet law;
drawn again until the matrix of shares has a condition number of at most 8 (the paper caps it too).
No label is used. Classes are matched to columns once, over all rows. `misled` adds four features
that put every row into one of 16 far corners, drawn by lot: what is alike then says nothing of the
class. `even` gives all domains the same shares: nothing is left to learn from.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ilk.bench import _sets
from ilk.bench._family import Claim, table
from ilk.bench._unknown import SEEDS
from ilk.data import Data, Features, Labels
from ilk.errors import Unavailable
from ilk.maths.gaussian import Matrix
from ilk.methods.latent_label_shift import LatentLabelShift, named

DOMAINS, CLASSES, ROWS = 8, 5, 1000
WORST = 8.0  # condition number of the shares
ALPHAS = {"Dirichlet 0.5": 0.5, "Dirichlet 3": 3.0}
OURS, BLIND, KMEANS = "latent label shift", "latent label shift, domain not told", "k-means"
FILE = "methods/latent_label_shift.py"


def tables(small: bool = False) -> list[dict[str, Any]]:
    """Matched accuracy and the error of the shares, by set and condition."""
    if small:
        return study("digits", _sets.digits(), "Dirichlet 0.5", range(2), 100)
    told = []
    for name, read in (("MNIST", _sets.mnist), ("Fashion-MNIST", _sets.fashion)):
        try:
            data = read()
        except Unavailable:
            continue
        for condition in (*ALPHAS, "misled", "even"):
            told += study(name, data, condition, SEEDS, ROWS)
    return told


def study(name: str, data: Data, condition: str, seeds: range, rows: int) -> list[dict[str, Any]]:
    """Two tables of one set under one condition."""
    right: dict[str, list[float]] = {OURS: [], BLIND: [], KMEANS: []}
    off: dict[str, list[float]] = {OURS: [], KMEANS: []}
    for seed in seeds:
        drawn = domains(data, condition, rows, seed)
        for method, (answer, shares) in answers(drawn, seed).items():
            told = named(np.eye(CLASSES)[answer], drawn)  # which column stands for which class
            right[method].append(float(np.mean(told[drawn.y] == answer)))
            if method in off:
                off[method].append(float(np.abs(shares[told] - shares_of(drawn)).sum(0).mean()))
    claims = [Claim("latent-label-shift", FILE, OURS, KMEANS)]
    where = f"{name}, {condition}"
    return [
        table(where, "matched accuracy", right, claims),
        table(where, "distance of the shares (sum of absolute differences)", off, claims, "lower"),
    ]


def answers(drawn: Data, seed: int) -> dict[str, tuple[Labels, Matrix]]:
    """Column of each row `[n]` and shares `[k, domains]`, by method; labels are not looked at."""
    from sklearn.cluster import KMeans

    blind = Data(drawn.x, np.full(len(drawn), -1), drawn.classes, domain=drawn.domain)
    model = LatentLabelShift(seed=seed).fit(blind)
    ours, alone = model.probabilities(drawn.x, drawn.domain), model.probabilities(drawn.x)
    cluster = KMeans(CLASSES, n_init=10, random_state=seed).fit_predict(drawn.x)
    counted = shares_of(Data(drawn.x, cluster, drawn.classes, domain=drawn.domain))
    return {
        OURS: (ours.argmax(1), model.shares),
        BLIND: (alone.argmax(1), model.shares),
        KMEANS: (cluster.astype(np.int64), counted),
    }


def shares_of(data: Data) -> Matrix:
    """Share of each class in each domain, `[k, domains]`."""
    parts = [np.bincount(data.y[data.domain == d], minlength=data.k) for d in range(DOMAINS)]
    return np.stack([part / part.sum() for part in parts], 1)


def domains(data: Data, condition: str, rows: int, seed: int) -> Data:
    """Rows of the first classes in domains with shares as `condition` says; no row twice."""
    from sklearn.decomposition import PCA

    rng = np.random.default_rng(seed)
    shares = _shares(ALPHAS.get(condition, 0.5), rng)
    if condition == "even":
        shares = np.full_like(shares, 1 / CLASSES)
    left = [list(rng.permutation(np.flatnonzero(data.y == c))) for c in range(CLASSES)]
    taken: list[int] = []
    domain: list[int] = []
    for d in range(DOMAINS):
        for c, count in enumerate(rng.multinomial(rows, shares[d])):
            part, left[c] = left[c][:count], left[c][count:]
            taken += part
            domain += [d] * len(part)
    x = PCA(30, random_state=0).fit_transform(data.x[taken]).astype(np.float32)
    if condition == "misled":
        x = _corners(x, rng)
    return Data(x, data.y[taken], data.classes[:CLASSES], domain=np.array(domain))


def _shares(alpha: float, rng: np.random.Generator) -> Matrix:
    while True:
        shares = rng.dirichlet(np.full(CLASSES, alpha), DOMAINS)
        if np.linalg.cond(shares) <= WORST:
            return shares


def _corners(x: Features, rng: np.random.Generator) -> Features:
    """Four features more, each far to one side or the other by lot."""
    far = 5 * float(x.std(0).max()) * rng.choice([-1.0, 1.0], (len(x), 4))
    return np.column_stack([x, far + rng.standard_normal(far.shape)]).astype(np.float32)
