"""The tabular recipe: the choice of its hyperparameters, and the value of its latent space.

Part of `ilk bench unknown_classes`.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np

from benchmarks.claims import Claim
from benchmarks.unknown_classes.half_unknown_sets import (
    KMEANS,
    SEEDS,
    DiscoveryScores,
    Tables,
    list_datasets,
)
from ilk.core.data import Labels
from ilk.discovery.practical_discovery import (
    DEFAULT_TRIAL,
    LATENT_DIMS,
    WEIGHTS,
    PracticalDiscovery,
)
from ilk.maths.clustering_accuracy import clustering_accuracy, strict_accuracy
from ilk.maths.folds import assign_folds
from ilk.maths.kmeans import (
    Matrix,
    estimate_new_clusters,
    fit_kmeans,
    squared_distances,
)
from ilk.protocols import Step, unseen_classes

HIDDEN_CLASSES, FIXED = "PracticalDiscovery, hidden classes", "PracticalDiscovery, fixed"
BY_NAMING, ORACLE = "PracticalDiscovery, by naming", "PracticalDiscovery, oracle"
KNOWN_MEANS, RAW_FEATURES = "k-means beside known classes, known number", "raw features"


def make_tables(small: bool) -> Tables:
    """Return accuracy and number of classes on digits and pendigits."""
    results: Tables = []
    for setting, draw in list_datasets(small).items():
        if setting in ("digits", "pendigits"):
            scores = DiscoveryScores()
            for seed in SEEDS[:2] if small else SEEDS:
                step = unseen_classes(data := draw(seed), data.k // 2, seed=seed)
                _compare_recipes(step, scores, seed, 10 if small else PracticalDiscovery().steps)
            baselines = (FIXED, BY_NAMING, ORACLE, KMEANS, KNOWN_MEANS)
            claims = [_make_claim(HIDDEN_CLASSES, baseline) for baseline in baselines]
            count_claims = [_make_claim("PracticalDiscovery", RAW_FEATURES)]
            results += scores.make_tables(f"{setting}, the tabular recipe", claims, count_claims)
    return results


def _make_claim(method: str, baseline: str) -> Claim:
    return Claim("tabular-ncd", "discovery/practical_discovery.py", method, baseline)


def _compare_recipes(step: Step, scores: DiscoveryScores, seed: int, steps: int) -> None:
    train, total = step.train, step.test.k
    x, y, is_unlabelled = _standardize(step.train.x), train.y, train.y < 0
    method = PracticalDiscovery(steps=steps, seed=seed)
    latents = {trial: _encode(method, x, y, trial) for trial in product(LATENT_DIMS, WEIGHTS)}
    answers = {
        trial: _group_beside_known(z, y, total - train.k, seed)[is_unlabelled]
        for trial, z in latents.items()
    }
    accuracies = {
        trial: clustering_accuracy(step.test.y, answer, train.k)
        for trial, answer in answers.items()
    }
    best = method.choose_hyperparameters(x, y)
    by_naming = max(accuracies, key=_make_naming_score(method, x, y))
    oracle = max(accuracies, key=lambda trial: accuracies[trial].overall)
    for name, trial in (
        (HIDDEN_CLASSES, best),
        (FIXED, DEFAULT_TRIAL),
        (BY_NAMING, by_naming),
        (ORACLE, oracle),
    ):
        strict = strict_accuracy(step.test.y, answers[trial], train.k).overall
        scores.add(name, accuracies[trial], strict=strict)
    answer = fit_kmeans(train.x, np.full(len(train), -1), total, seed=seed).assignment
    scores.add(KMEANS, clustering_accuracy(step.test.y, answer[is_unlabelled], train.k))
    answer = _group_beside_known(x, y, total - train.k, seed)[is_unlabelled]
    scores.add(
        KNOWN_MEANS,
        clustering_accuracy(step.test.y, answer, train.k),
        strict=strict_accuracy(step.test.y, answer, train.k).overall,
    )
    for name, rows in (("PracticalDiscovery", latents[best]), (RAW_FEATURES, x)):
        n_new = estimate_new_clusters(rows, y, fix_known=True, seed=seed)
        scores.count_errors.setdefault(name, []).append(abs(n_new + train.k - total))


def _group_beside_known(x: Matrix, y: Labels, n_new: int, seed: int) -> Labels:
    """Return groups `[n]` by k-means beside fixed means of known classes."""
    return fit_kmeans(x, y, n_new, fix_known=True, seed=seed).assignment


def _encode(method: PracticalDiscovery, x: Matrix, y: Labels, trial: tuple[int, float]) -> Matrix:
    inner, threshold, outer = method.fit_encoder(x, y, trial)
    return np.asarray(np.maximum(x @ inner.T + threshold, 0) @ outer.T)


def _standardize(x: Matrix) -> Matrix:
    std = x.std(0, dtype=np.float64)
    std = np.where(std > 1e-6 * std.max(), std, 1.0)
    return np.asarray((x - x.mean(0, dtype=np.float64)) / std, np.float32)


def _make_naming_score(
    method: PracticalDiscovery, x: Matrix, y: Labels
) -> Callable[[tuple[int, float]], float]:
    """Return the accuracy on held-out labelled rows, by latent width and weight."""
    labelled = np.flatnonzero(y >= 0)
    held_out = labelled[assign_folds(y[labelled], 3, method.seed) == 0]
    visible_y = y.copy()
    visible_y[held_out] = -1

    def naming_accuracy(trial: tuple[int, float]) -> float:
        z = _encode(method, x, visible_y, trial)
        means = fit_kmeans(z, visible_y, 0, fix_known=True).centres
        return float(np.mean(squared_distances(z[held_out], means).argmin(1) == y[held_out]))

    return naming_accuracy
