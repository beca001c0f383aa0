"""Score encoders with every transferability score, and compare scores with accuracy."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ilk.core.data import Features, Labels
from ilk.core.metrics import Probabilities
from ilk.ranking.transferability import list_scores

MIN_ENCODERS = 3  # with two encoders, any correlation is -1 or 1


@dataclass(frozen=True)
class EncoderScores:
    """The scores of one encoder.

    Attributes:
        encoder: Name of the encoder.
        n_features: Number of features.
        scores: By name; None if the encoder lacks the input of the score.
        seconds: Seconds per score.
    """

    encoder: str
    n_features: int
    scores: dict[str, float | None]
    seconds: dict[str, float]


def score_encoder(
    encoder: str, x: Features, y: Labels, source: Probabilities | None
) -> EncoderScores:
    """Compute every score of features `x [n, d]` for labels `y [n]`.

    Args:
        source: Probabilities of the encoder's own classifier, `[n, z]`; None if it has none.

    Raises:
        NoLabels, InputError: As for the scores.
    """
    rankers = list_scores()
    scorers: dict[str, Callable[[], float | None]] = {
        name: partial(one.score, x, y)
        for name, one in rankers.items()
        if one.INPUT_KIND == "features"
    }
    for name, module in rankers.items():
        if module.INPUT_KIND == "source":
            scorers[name] = (lambda: None) if source is None else partial(module.score, source, y)
    scores, seconds = dict[str, float | None](), dict[str, float]()
    for name, compute in scorers.items():
        started_at = time.perf_counter()
        scores[name] = compute()
        seconds[name] = time.perf_counter() - started_at
    return EncoderScores(encoder, x.shape[1], scores, seconds)


def rank_correlation(scores: Sequence[float], accuracy: Sequence[float]) -> float | None:
    """Return Kendall's tau-b between scores and accuracies of encoders, in [-1, 1].

    None for fewer than 3 encoders, or if all values are equal.
    """
    from scipy.stats import kendalltau

    if len(scores) < MIN_ENCODERS or np.ptp(scores) == 0 or np.ptp(accuracy) == 0:
        return None
    return float(kendalltau(scores, accuracy).statistic)
