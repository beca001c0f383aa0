"""Scores of the sentences of a pool, by rule."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.color_filter import recurrent
from benchmarks.color_filter.bigrams import Bigrams
from benchmarks.color_filter.text import Sentence, TextTask
from ilk.core.data import Data
from ilk.subset_selection.selectors.color_filter import compute_loss_reduction
from ilk.subset_selection.selectors.target_discriminator import TargetDiscriminator

Scores = NDArray[np.float64]
COLOR, COLOR_RECURRENT = "ColorFilter", "ColorFilter, recurrent auxiliaries"
RANDOM, CONDITIONAL = "random", "conditional loss alone"
DISCRIMINATOR, IMPORTANCE = "discriminator", "hashed n-gram importance"
ORACLE = "oracle: reviews first"
N_BUCKETS = 1024  # of hashed words and pairs
PRIOR_STEPS, TUNING_LR, PRIOR_LR = 200, 3e-3, 1e-2


def score_pool(task: TextTask, seed: int) -> dict[str, Scores]:
    """Return the score of each sentence of the pool, `[n]`, higher first, by rule."""
    rng = np.random.default_rng(seed)
    prior = Bigrams.fit(task.pool, task.n_words)
    n_pool, n_guide = (sum(map(len, part)) for part in (task.pool, task.guide))
    conditional = prior.tune(task.guide, max(1.0, 0.1 * n_pool / n_guide))
    losses = conditional.compute_losses(task.pool)
    chance = rng.random(len(task.pool))
    x, t = hash_sentences(task.pool), hash_sentences(task.guide)
    unlabelled = np.full(len(x), -1), np.full(len(t), -1)
    discriminator = TargetDiscriminator().score(
        Data(_normalize(x), unlabelled[0], ()), Data(_normalize(t), unlabelled[1], ()), seed
    )
    return {
        RANDOM: chance,
        CONDITIONAL: -losses,
        DISCRIMINATOR: discriminator,
        IMPORTANCE: compute_importance(x, t),
        COLOR: compute_loss_reduction(prior.compute_losses(task.pool), losses),
        ORACLE: task.is_review + chance,
    }


def score_by_recurrent_models(task: TextTask, seed: int, steps: int) -> Scores:
    """Return the fall of the loss from a recurrent model of the pool to one tuned for one epoch."""
    model = recurrent.RecurrentModel(task.n_words, 64, seed)
    prior = recurrent.train_model(model, task.pool, steps, PRIOR_LR, seed)
    epoch = max(1, len(task.guide) // recurrent.BATCH_SIZE)
    conditional = recurrent.train_model(prior, task.guide, epoch, TUNING_LR, seed)
    return compute_loss_reduction(
        recurrent.compute_losses(prior, task.pool), recurrent.compute_losses(conditional, task.pool)
    )


def hash_sentences(sentences: Sequence[Sentence]) -> NDArray[np.float32]:
    """Return how often each bucket of hashed words and pairs of words is hit, `[n, N_BUCKETS]`."""
    out = np.zeros((len(sentences), N_BUCKETS), np.float32)
    for row, s in zip(out, sentences, strict=True):
        np.add.at(row, (s[1:-1] * 2654435761) % N_BUCKETS, 1)
        np.add.at(row, (s[:-1] * 40503 + s[1:] * 2654435761 + 7) % N_BUCKETS, 1)
    return out


def compute_importance(x: NDArray[np.float32], target: NDArray[np.float32]) -> Scores:
    """Return the log ratio of bag-of-buckets models of target and pool, per hit, `[n]`.

    Sang Michael Xie and others, 2023, Data Selection for Language Models via Importance Resampling,
    arXiv 2302.03169; the highest are taken in place of a resampling.
    """
    ratio = _estimate(target) - _estimate(x)
    return np.asarray(x @ ratio / np.maximum(x.sum(1), 1), np.float64)


def _estimate(x: NDArray[np.float32]) -> NDArray[np.float64]:
    counts = x.sum(0, dtype=np.float64) + 1
    return np.asarray(np.log(counts / counts.sum()))


def _normalize(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12), np.float32)
