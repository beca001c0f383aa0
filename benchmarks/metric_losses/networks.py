"""Small convolutional networks trained from pixels, with and without mixed embeddings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from torch import nn

from benchmarks.datasets import read_cifar_pixels, read_mnist
from benchmarks.metric_losses.arms import CONFUSED_TRIPLET, DOUBLED_MS, METRIX_MS
from benchmarks.retrieval_sets import WIDTH, Arm, Matrix, RetrievalTask, run_arm
from ilk.architectures.convolutional_embedding import ConvolutionalEmbedding
from ilk.metric_learning.training import EmbeddingRecipe, embed_rows
from ilk.training.objectives.energy_confusion import EnergyConfusion
from ilk.training.objectives.metrix import Metrix
from ilk.training.objectives.multi_similarity import MultiSimilarity
from ilk.training.objectives.semi_hard_triplet import SemiHardTriplet

NETWORK_SETS = ("mnist", "cifar10 pixels")
PLAIN = "MultiSimilarity"
FILTERS = (16, 32, 32)
RECIPE = EmbeddingRecipe(steps=120)
BASES = (0.4, 0.6)
LR = (3e-3,)
TRIPLET = "SemiHardTriplet"
MARGINS, WEIGHTS = (0.1, 0.2), (0.01, 0.1)
PER_CLASS, TEST_PER_CLASS = 200, 200


def read_network_task(name: str, seed: int, *, small: bool = False) -> RetrievalTask:
    """Return pixels of 3 training, 2 validation and 5 test classes, divided by the seed."""
    data = read_mnist("test") if name == "mnist" else read_cifar_pixels(300)
    rng = np.random.default_rng(seed)
    count = 20 if small else PER_CLASS
    rows = [rng.permutation(np.flatnonzero(data.y == c))[:count] for c in range(10)]
    order = rng.permutation(10)
    parts = [
        data.take(np.concatenate([rows[c] for c in order[at:end]]))
        for at, end in ((0, 3), (3, 5), (5, 10))
    ]
    return RetrievalTask(name, *parts)


def run_networks(task: RetrievalTask, seed: int, *, small: bool = False) -> dict[str, Any]:
    """Return the scores of each arm, and how near training embeddings come to the test's."""

    def make(x: Matrix, seed: int) -> nn.Module:
        shape = (1, 28, 28) if x.shape[1] == 784 else (3, 32, 32)
        return ConvolutionalEmbedding(shape[0], shape[1:], WIDTH, FILTERS, seed)

    recipe = replace(RECIPE, steps=3) if small else RECIPE
    plain = Arm(MultiSimilarity, BASES, recipe, make, LR)
    arms = {
        PLAIN: plain,
        DOUBLED_MS: replace(plain, recipe=replace(recipe, n_rows=2 * recipe.n_rows)),
        METRIX_MS: replace(plain, make_objective=lambda v: Metrix(MultiSimilarity(v))),
        TRIPLET: replace(plain, make_objective=SemiHardTriplet, values=MARGINS),
        CONFUSED_TRIPLET: replace(plain, make_objective=_confuse, values=WEIGHTS),
    }
    results: dict[str, Any] = {}
    for name, arm in arms.items():
        network, scores = run_arm(arm, task, seed)
        results[name] = {**scores, **measure_utilization(network, task, seed)}
    return results


def _confuse(weight: float) -> EnergyConfusion:
    return EnergyConfusion(SemiHardTriplet(MARGINS[0]), weight)


def measure_utilization(network: nn.Module, task: RetrievalTask, seed: int) -> dict[str, float]:
    """Return the mean distance of test embeddings to the nearest of three sets of embeddings.

    The sets are the training rows; these and as many mixed ones (of two classes, at unit length);
    these and as many that are jittered by as much as mixing moves them, in random directions.
    """
    rng = np.random.default_rng(seed)
    train, test = (embed_rows(network, part.x) for part in (task.seen, task.test))
    y = task.seen.y
    partner = np.array([rng.choice(np.flatnonzero(y != c)) for c in y])
    share = rng.beta(2, 2, size=(len(y), 1))
    mixed = _normalize(share * train + (1 - share) * train[partner])
    step = rng.normal(size=train.shape)
    step *= np.linalg.norm(mixed - train, axis=1, keepdims=True) / np.linalg.norm(
        step, axis=1, keepdims=True
    )
    jittered = _normalize(train + step)
    return {
        "distance to training rows": _measure_distance(test, train),
        "with mixed rows": _measure_distance(test, np.concatenate([train, mixed])),
        "with jittered rows": _measure_distance(test, np.concatenate([train, jittered])),
    }


def _normalize(rows: Matrix) -> Matrix:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def _measure_distance(queries: Matrix, rows: Matrix) -> float:
    nearest = (queries @ rows.T).max(1)
    return float(np.sqrt(np.maximum(2 - 2 * nearest, 0)).mean())
