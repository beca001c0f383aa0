"""Class-relation distillation: new classes found by a head that was trained on known ones.

Entry crkd-novel-class; seeds 100 to 104. Five classes with labels and five without, of MNIST (30
principal components), Fashion-MNIST (60) and CIFAR-10 (MobileNetV2), 2,000 rows; the number of new
classes is known. Accuracy on the unlabelled rows, groups matched to classes once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from benchmarks import datasets
from benchmarks.claims import Claim, make_table
from ilk.core.data import Data, Labels
from ilk.core.errors import Unavailable
from ilk.discovery.relation_distillation import RelationDistillation
from ilk.protocols import unseen_classes

SEEDS, N_NEW, N_ROWS = range(100, 105), 5, 2000
OURS = RelationDistillation(n_new=N_NEW)
METHODS = {
    "with distillation": OURS,
    "without distillation": replace(OURS, distillation_weight=0.0),
}
KMEANS, SUPERVISED = "k-means on the features", "k-means on supervised hidden units"
DATASETS: tuple[tuple[str, Callable[[], Data], int], ...] = (
    ("MNIST", datasets.read_mnist, 30),
    ("Fashion-MNIST", datasets.read_fashion, 60),
    ("CIFAR-10", lambda: datasets.read_cifar("test"), 100),
)


def make_tables(small: bool = False) -> list[dict[str, Any]]:
    """Return clustering accuracy on the new classes, one table per data set."""
    if small:
        return [compare_methods("digits", datasets.read_digits(), 20, range(2))]
    results = []
    for name, load, width in DATASETS:
        try:
            results.append(compare_methods(name, load(), width, SEEDS))
        except Unavailable:
            continue
    return results


def compare_methods(name: str, data: Data, width: int, seeds: range) -> dict[str, Any]:
    """Return the table of one data set."""
    accuracies: dict[str, list[float]] = {}
    for seed in seeds:
        for method, accuracy in _evaluate_seed(data, width, seed).items():
            accuracies.setdefault(method, []).append(accuracy)
    claims = [
        Claim(
            "crkd-novel-class", "discovery/relation_distillation.py", "with distillation", baseline
        )
        for baseline in ("without distillation", SUPERVISED, KMEANS)
    ]
    return make_table(
        f"{name}, 5 known and 5 new classes", "clustering accuracy", accuracies, claims
    )


def _evaluate_seed(data: Data, width: int, seed: int) -> dict[str, float]:
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA

    rows = np.random.default_rng(seed).permutation(len(data))[:N_ROWS]
    x = PCA(width, random_state=0).fit_transform(data.x[rows]).astype(np.float32)
    step = unseen_classes(replace(data.take(rows), x=x), N_NEW, labelled_fraction=1.0, seed=seed)
    y = step.test.y - step.train.k
    accuracies = {
        name: matched_accuracy(
            replace(method, seed=seed).fit(step.train).logits(step.test.x)[:, -N_NEW:], y
        )
        for name, method in METHODS.items()
    }
    teacher = RelationDistillation(seed=seed).fit(step.train.take_labelled())
    for name, z in ((SUPERVISED, teacher.compute_hidden(step.test.x)), (KMEANS, step.test.x)):
        clusters = KMeans(N_NEW, n_init=10, random_state=seed).fit_predict(z)
        accuracies[name] = matched_accuracy(np.eye(N_NEW)[clusters], y)
    return accuracies


def matched_accuracy(scores: Any, y: Labels) -> float:
    """Return the accuracy under the best matching of groups to classes."""
    confusion = np.zeros((N_NEW, N_NEW))
    np.add.at(confusion, (y, np.asarray(scores).argmax(1)), 1)
    return float(confusion[linear_sum_assignment(-confusion)].sum() / len(y))
