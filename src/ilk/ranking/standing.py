"""Where an encoder stands by each score, and how far scores agree with accuracy."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ilk.data import Features, Labels
from ilk.metrics import Probabilities
from ilk.ranking import tmi
from ilk.ranking.contract import available

FEWEST = 3  # encoders; with two, any score agrees wholly or not at all


@dataclass(frozen=True)
class Standing:
    """One encoder, scored.

    Attributes:
        encoder: Its name.
        width: Features it gives.
        scores: By name; None where the encoder has not what the score reads.
        seconds: What each took.
    """

    encoder: str
    width: int
    scores: dict[str, float | None]
    seconds: dict[str, float]


def standing(
    encoder: str, x: Features, y: Labels, source: Probabilities | None, width: int
) -> Standing:
    """Every score of one encoder's features `x [n, d]` for labels `y [n]`.

    Args:
        source: What the encoder's own classifier says, `[n, z]`; None where it has none.
        width: Principal axes that all encoders at hand have, for TMI where their number and scale
            must not count.

    Raises:
        NoLabels, InputError: As the scores say.
    """
    found = available()
    tries: dict[str, Callable[[], float | None]] = {
        name: partial(one.score, x, y) for name, one in found.items() if one.READS == "features"
    }
    tries[f"{tmi.NAME}, common axes"] = partial(tmi.score, x, y, width=width)
    for name, one in found.items():
        if one.READS == "source":
            tries[name] = (lambda: None) if source is None else partial(one.score, source, y)
    scores, seconds = dict[str, float | None](), dict[str, float]()
    for name, made in tries.items():
        began = time.perf_counter()
        scores[name] = made()
        seconds[name] = time.perf_counter() - began
    return Standing(encoder, x.shape[1], scores, seconds)


def agreement(scores: Sequence[float], accuracy: Sequence[float]) -> float | None:
    """Kendall's tau-b between scores and accuracies of encoders, in [-1, 1].

    None where there are fewer than 3, or where all are the same.
    """
    from scipy.stats import kendalltau

    if len(scores) < FEWEST or np.ptp(scores) == 0 or np.ptp(accuracy) == 0:
        return None
    return float(kendalltau(scores, accuracy).statistic)
