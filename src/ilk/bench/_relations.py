"""Class-relation distillation: new classes grouped by a head that was taught by the known ones.

The catalogue's row crkd-novel-class. Five classes with labels, five without, of MNIST (30 principal
components), Fashion-MNIST (60) and CIFAR-10 (MobileNetV2), 2,000 rows; the number of new classes is
told. Accuracy of the rows without a label, groups matched to classes once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from ilk.bench import _sets
from ilk.bench._family import Claim, table
from ilk.bench._unknown import SEEDS
from ilk.data import Data, Labels
from ilk.errors import Unavailable
from ilk.methods.relation_distillation import RelationDistillation
from ilk.protocols import unseen_classes

HIDDEN, ROWS = 5, 2000
OURS = RelationDistillation(groups=HIDDEN)
METHODS = {
    "with distillation": OURS,
    "without": replace(OURS, distil=0.0),
    "all rows alike": replace(OURS, weighted=False),
}
KMEANS, SUPERVISED = "k-means on the features", "k-means on supervised hidden units"
SETS: tuple[tuple[str, Callable[[], Data], int], ...] = (
    ("MNIST", _sets.mnist, 30),
    ("Fashion-MNIST", _sets.fashion, 60),
    ("CIFAR-10", lambda: _sets.cifar("test"), 100),
)


def tables(small: bool = False) -> list[dict[str, Any]]:
    """Clustering accuracy on the new classes, a table a set."""
    if small:
        return [study("digits", _sets.digits(), 20, range(2))]
    told = []
    for name, read, width in SETS:
        try:
            told.append(study(name, read(), width, SEEDS))
        except Unavailable:
            continue
    return told


def study(name: str, data: Data, width: int, seeds: range) -> dict[str, Any]:
    """One set."""
    right: dict[str, list[float]] = {}
    for seed in seeds:
        for method, told in _one(data, width, seed).items():
            right.setdefault(method, []).append(told)
    claims = [
        Claim("crkd-novel-class", "methods/relation_distillation.py", "with distillation", other)
        for other in ("without", "all rows alike", SUPERVISED, KMEANS)
    ]
    return table(f"{name}, 5 known and 5 new classes", "clustering accuracy", right, claims)


def _one(data: Data, width: int, seed: int) -> dict[str, float]:
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA

    rows = np.random.default_rng(seed).permutation(len(data))[:ROWS]
    x = PCA(width, random_state=0).fit_transform(data.x[rows]).astype(np.float32)
    step = unseen_classes(replace(data.rows(rows), x=x), HIDDEN, labelled=1.0, seed=seed)
    y = step.test.y - step.train.k
    found = {
        name: matched(
            replace(method, seed=seed).fit(step.train).logits(step.test.x)[:, -HIDDEN:], y
        )
        for name, method in METHODS.items()
    }
    first = RelationDistillation(seed=seed).fit(step.train.labelled())
    for name, z in ((SUPERVISED, first.hidden(step.test.x)), (KMEANS, step.test.x)):
        group = KMeans(HIDDEN, n_init=10, random_state=seed).fit_predict(z)
        found[name] = matched(np.eye(HIDDEN)[group], y)
    return found


def matched(scores: Any, y: Labels) -> float:
    """Share of rows in the group that stands for their class, the best way to match them."""
    votes = np.zeros((HIDDEN, HIDDEN))
    np.add.at(votes, (y, np.asarray(scores).argmax(1)), 1)
    return float(votes[linear_sum_assignment(-votes)].sum() / len(y))
