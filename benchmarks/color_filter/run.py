"""Does conditional loss reduction select the data from which a model learns most for the target?

A pool of dictionary definitions and a few film reviews, a target of reviews: each rule ranks the
pool, a language model is trained on the best 1/tau of it, and its loss per word on other reviews is
measured: for bigrams at several tau, for a recurrent network at one. The same with digits: a pool
of MNIST and a few USPS digits, a target of USPS digits, and the loss of a small network; there the
best of each class are kept. ColorFilter is compared with random choice, with the loss of the
conditional model alone, with a discriminator between target and pool, with the importance of hashed
n-grams, and with an oracle that knows the sources.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.claims import Claim, make_table
from benchmarks.color_filter import images, recurrent
from benchmarks.color_filter import text_arms as a
from benchmarks.color_filter.bigrams import Bigrams
from benchmarks.color_filter.text import TextTask, draw_task
from benchmarks.runner import summarize

SEEDS = 5
SIZES, SMALL_SIZES = (6000, 1500, 300, 1500), (200, 60, 30, 60)
N_WORDS = 2000
TAUS = (2, 4, 8, 16, 32)
RECURRENT_TAU, RECURRENT_STEPS = 8, 100
IMAGE_TAUS = (5, 10)
FILE = "subset_selection/selectors/color_filter.py"


def run(small: bool = False) -> dict[str, Any]:
    """Run the benchmark; `small` takes seconds."""
    seeds = range(2 if small else SEEDS)
    words, steps = (300, 5) if small else (N_WORDS, RECURRENT_STEPS)
    bigrams: dict[int, list[dict[str, float]]] = {tau: [] for tau in TAUS}
    networks, shares = [], []
    for seed in seeds:
        task = draw_task(seed, SMALL_SIZES if small else SIZES, words)
        scores = a.score_pool(task, seed)
        for tau in TAUS:
            bigrams[tau].append(_measure_bigrams(task, scores, tau))
        scores[a.COLOR_RECURRENT] = a.score_by_recurrent_models(
            task, seed, 5 if small else a.PRIOR_STEPS
        )
        networks.append(_measure_networks(task, scores, steps, seed))
        shares.append(_count_reviews(task, scores))
    digits = [images.run_seed(seed, IMAGE_TAUS, small) for seed in seeds]
    tables = [
        make_table(
            f"reviews among definitions, bigrams, tau {tau}",
            "loss per word",
            _collect(bigrams[tau]),
            _make_claims(a.COLOR, (a.DISCRIMINATOR, a.IMPORTANCE, a.CONDITIONAL, a.RANDOM)),
            better="lower",
        )
        for tau in TAUS
    ]
    recurrent_claims = [
        claim
        for method in (a.COLOR, a.COLOR_RECURRENT)
        for claim in _make_claims(method, (a.DISCRIMINATOR, a.IMPORTANCE, a.CONDITIONAL, a.RANDOM))
    ]
    tables.append(
        make_table(
            f"reviews among definitions, recurrent network, tau {RECURRENT_TAU}",
            "loss per word",
            _collect(networks),
            recurrent_claims,
            better="lower",
        )
    )
    image_claims = [
        claim
        for method in (images.COLOR, images.COLOR_LABELS)
        for claim in _make_claims(
            method, ("TargetDiscriminator", "NearestTarget", images.CONDITIONAL, images.RANDOM)
        )
    ]
    tables += [
        make_table(
            f"USPS among MNIST digits, small network, tau {tau}",
            "log loss",
            _collect([result[tau] for result in digits]),
            image_claims,
            better="lower",
        )
        for tau in IMAGE_TAUS
    ]
    return {
        "tables": tables,
        "share_of_reviews_kept": {
            arm: summarize([row[arm] for row in shares]) for arm in shares[0]
        },
        "seeds": len(seeds),
    }


def _make_claims(method: str, baselines: Sequence[str]) -> list[Claim]:
    return [Claim("color-filter", FILE, method, baseline) for baseline in baselines]


def _collect(rows: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    return {arm: [row[arm] for row in rows] for arm in rows[0]}


def _keep(task: TextTask, scores: np.ndarray[Any, Any], tau: int) -> list[Any]:
    count = len(task.pool) // tau
    return [task.pool[i] for i in np.argsort(-scores, kind="stable")[:count]]


def _measure_bigrams(task: TextTask, scores: Mapping[str, Any], tau: int) -> dict[str, float]:
    """Return the loss per word on the test reviews, by rule."""
    weights = np.array([len(s) - 1 for s in task.test])
    return {
        arm: float(
            np.average(
                Bigrams.fit(_keep(task, s, tau), task.n_words).compute_losses(task.test),
                weights=weights,
            )
        )
        for arm, s in scores.items()
    }


def _measure_networks(
    task: TextTask, scores: Mapping[str, Any], steps: int, seed: int
) -> dict[str, float]:
    """As `_measure_bigrams`, of a recurrent network."""
    weights = np.array([len(s) - 1 for s in task.test])
    out = {}
    for arm, s in scores.items():
        model = recurrent.RecurrentModel(task.n_words, 64, seed)
        kept = _keep(task, s, RECURRENT_TAU)
        model = recurrent.train_model(model, kept, steps, a.PRIOR_LR, seed)
        losses = recurrent.compute_losses(model, task.test)
        out[arm] = float(np.average(losses, weights=weights))
    return out


def _count_reviews(task: TextTask, scores: Mapping[str, Any]) -> dict[str, float]:
    """Return the share of reviews among the best 1 / `RECURRENT_TAU` of the pool, by rule."""
    count = len(task.pool) // RECURRENT_TAU
    return {
        arm: float(task.is_review[np.argsort(-s, kind="stable")[:count]].mean())
        for arm, s in scores.items()
    }
