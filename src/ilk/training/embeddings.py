"""Embeddings of frozen features, trained by episodic objectives to serve classes not seen.

An embedding starts as the features themselves, and training adds a correction to them
(`ilk.training.residual_head`). How much of the correction is of use to new classes depends on how
far they differ as those of the training rows do, so `select_strength` measures it on classes that
were held out, and `select_own_strength` on held-out rows of the training classes themselves.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Data, Labels
from ilk.maths.folds import assign_folds, count_folds
from ilk.training.heads import BATCH_SIZE, count_steps, fit_head
from ilk.training.objective import Objective
from ilk.training.residual_head import ResidualHead
from ilk.training.trainer import Recipe

STRENGTHS = (0.0, 0.25, 0.5, 1.0)
FEW_CLASSES_STRENGTH = 0.5  # where too few classes are there to hold some out
MIN_CLASSES = 4
N_TASKS, MAX_SHOTS = 20, 5


def train_embedding(
    data: Data, objective: Objective, hidden: int, epochs: float, seed: int
) -> ResidualHead:
    """Return a head whose embedding is trained by an episodic objective.

    Where no class has two labelled rows, or there is only one class, no episode can be drawn and
    the embedding stays the features.

    Args:
        data: Labelled features.
        objective: The loss, such as `Prototypical()`.
        hidden: Number of hidden units of the correction.
        epochs: Passes over the rows.
        seed: Seed of weights, batches and episodes.
    """
    head = ResidualHead.from_data(data, hidden, seed)
    counts = data.count_labels()
    if counts.max() < 2 or (counts > 0).sum() < 2:
        return head
    n = len(data)
    recipe = Recipe(count_steps(n, epochs, 100), min(BATCH_SIZE, n), lr=4e-3, warmup=20, seed=seed)
    return fit_head(head, data, objective, recipe)


def select_strength(
    data: Data, objective: Objective, hidden: int, epochs: float, seed: int
) -> float:
    """Return the strength of the correction that serves held-out classes best.

    The classes are halved at random, and an embedding trained on each half is scored on the other
    by the accuracy of the nearest mean of a few of its rows. The smallest of equal strengths is
    returned, and `FEW_CLASSES_STRENGTH` with fewer than `MIN_CLASSES` classes of two rows.

    Args:
        data, objective, hidden, epochs, seed: See `train_embedding`.
    """
    rng = np.random.default_rng(seed)
    repeated = rng.permutation(np.flatnonzero(data.count_labels() > 1))
    if len(repeated) < MIN_CLASSES:
        return FEW_CLASSES_STRENGTH
    halves = repeated[::2], repeated[1::2]
    scores = np.zeros(len(STRENGTHS))
    for train_classes, test_classes in (halves, halves[::-1]):
        train, test = (data.take(np.isin(data.y, c)) for c in (train_classes, test_classes))
        model = train_embedding(train, objective, hidden, epochs, seed).to_model()
        embedded = model.compute_hidden(test.x)
        features = (test.x.astype(np.float64) - model.centre) / model.unit
        draws = [split_rows(test.y, rng) for _ in range(N_TASKS)]
        for i, strength in enumerate(STRENGTHS):
            rows = features + strength * (embedded - features)
            scores[i] += score_nearest_mean(rows, test.y, draws)
    return STRENGTHS[int(np.argmax(scores))]


def select_own_strength(
    data: Data, objective: Objective, hidden: int, epochs: float, seed: int
) -> float:
    """Return the strength that serves held-out rows of the training classes best.

    An embedding trained on one half of the rows is scored on the other by the accuracy of the
    nearest class mean. The smallest of equal strengths is returned, and `FEW_CLASSES_STRENGTH`
    where the rows cannot be halved.

    Args:
        data, objective, hidden, epochs, seed: See `train_embedding`.
    """
    if count_folds(data.y, 2, data.group) < 2:
        return FEW_CLASSES_STRENGTH
    is_training = assign_folds(data.y, 2, seed, data.group) == 0
    known = np.isin(data.y, data.y[is_training])  # classes of a single row may be on one side
    data, is_training = data.take(known), is_training[known]
    if is_training.all():
        return FEW_CLASSES_STRENGTH
    model = train_embedding(data.take(is_training), objective, hidden, epochs, seed).to_model()
    features = (data.x.astype(np.float64) - model.centre) / model.unit
    change = model.compute_hidden(data.x) - features
    scores = [
        score_nearest_mean(features + strength * change, data.y, [is_training])
        for strength in STRENGTHS
    ]
    return STRENGTHS[int(np.argmax(scores))]


def split_rows(y: Labels, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw support rows: half of each class of `y [n]`, at most `MAX_SHOTS`. Returns `[n]` bool."""
    order = rng.permutation(len(y))
    is_support = np.zeros(len(y), bool)
    for c in np.unique(y):
        rows = order[y[order] == c]
        is_support[rows[: min(MAX_SHOTS, len(rows) // 2)]] = True
    return is_support


def score_nearest_mean(
    rows: NDArray[np.float64], y: Labels, draws: Sequence[NDArray[np.bool_]]
) -> float:
    """Return the mean accuracy over draws of the nearest class mean of the support rows.

    Args:
        rows: Embedded rows, `[n, d]`.
        y: Their classes, `[n]`.
        draws: Which rows are support rows, `[n]` bool each; the others are classified.
    """
    classes, labels = np.unique(y, return_inverse=True)
    accuracies = []
    for is_support in draws:
        means = np.stack([rows[is_support & (labels == c)].mean(0) for c in range(len(classes))])
        scores = rows[~is_support] @ means.T - 0.5 * np.sum(means**2, axis=1)
        accuracies.append(np.mean(scores.argmax(1) == labels[~is_support]))
    return float(np.mean(accuracies))
