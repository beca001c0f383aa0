"""What more labels would buy: the error on the audit slice against the number of labels.

Models are fitted on nested random subsets of the labels and judged on the audit slice, none on a
label that it has learned. A power law e(m) = a + b m^-c with c in [0, 1] (Corinna Cortes and
others, 1993, Learning Curves: Asymptotic Values and Rate of Convergence) is fitted to the mean
errors. So few points cannot tell the asymptote a, so it is averaged over: shares of the least error
from 0 to 0.9. The interval comes from drawing the audited images anew, with replacement (Bradley
Efron, 1979, doi:10.1214/aos/1176344552), each time with another of these shares.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Features, Labels
from ilk.core.metrics import Interval
from ilk.labelling.learner import answer_left_out

FRACTIONS = (0.35, 0.5, 0.7, 0.85, 1.0)
N_SUBSETS, N_FOLDS = 4, 5
N_DRAWS = 400
MIN_AUDITED, MIN_LABELS = 15, 25
SHARES = (0.0, 0.3, 0.6, 0.9)  # of the least error that may be the asymptote
STEPS = (25, 50, 100, 200)
STATED = 1  # position of the step that the sentence is about
NEGLIGIBLE = 0.005  # gain: half a point
MAX_WIDTH = 0.15  # of the interval of an accuracy that is still worth stating


@dataclass(frozen=True)
class LearningCurve:
    """Measured and expected accuracy by number of labels.

    Attributes:
        measured: Number of labels and mean accuracy on the audit slice.
        expected: Additional labels and what the accuracy would gain, with its 95 % interval; empty
            where that cannot be told.
        sentence: What more labels would buy, or why it cannot be told.
    """

    measured: tuple[tuple[int, float], ...]
    expected: tuple[tuple[int, Interval], ...]
    sentence: str


def estimate_learning_curve(
    x: Features, y: Labels, classes: tuple[str, ...], audited: Labels, seed: int = 0
) -> LearningCurve | None:
    """Return the learning curve; None with too few labels or audited images.

    Args:
        x: Reduced features, `[n, d]`.
        y: Class of each row, `[n]`, -1 where unknown.
        classes: Class names.
        audited: Rows of the audit slice that have a class, `[m]`.
        seed: Seed of the subsets and of the drawing.
    """
    n = int(np.sum(y >= 0))
    if len(audited) < MIN_AUDITED or n < MIN_LABELS:
        return None
    rng = np.random.default_rng(seed)
    sizes = np.unique(np.round(np.array(FRACTIONS) * n).astype(np.int64))
    wrong = np.mean(
        [_measure_errors(x, y, classes, audited, sizes, rng) for _ in range(N_SUBSETS)], axis=0
    )
    measured = tuple((int(m), float(1 - e)) for m, e in zip(sizes, wrong.mean(1), strict=True))
    draws = rng.integers(len(audited), size=(N_DRAWS, len(audited)))
    gains = np.array(
        [
            predict_gains(sizes, wrong[:, draw].mean(1), n, SHARES[i % len(SHARES)])
            for i, draw in enumerate(draws)
        ]
    )
    central = np.mean([predict_gains(sizes, wrong.mean(1), n, share) for share in SHARES], axis=0)
    low, high = np.quantile(gains, [0.025, 0.975], axis=0)
    expected = tuple(
        (step, Interval(float(g), float(min(a, g)), float(max(b, g))))
        for step, g, a, b in zip(STEPS, central, low, high, strict=True)
    )
    return _describe(measured, expected)


def explain_missing(n_audited: int, n_labels: int) -> str:
    """Return what is missing before a learning curve can be estimated."""
    return (
        f"to estimate the gain from more labels, {MIN_AUDITED} random checks and {MIN_LABELS} "
        f"labels are needed; so far there are {n_audited:,} and {n_labels:,}. Random checks come "
        "among the single images, not in the groups"
    )


def _measure_errors(
    x: Features,
    y: Labels,
    classes: tuple[str, ...],
    audited: Labels,
    sizes: NDArray[np.int64],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Return whether each audited row is wrong, `[sizes, m]`, after nested random subsets."""
    order = rng.permutation(np.flatnonzero(y >= 0))
    wrong = []
    for size in sizes:
        visible = np.full(len(y), -1)
        visible[order[:size]] = y[order[:size]]
        logits = answer_left_out(x, visible, classes, audited, N_FOLDS)
        wrong.append(logits.argmax(1) != y[audited])
    return np.array(wrong, np.float64)


def predict_gains(
    sizes: NDArray[np.int64], errors: NDArray[np.float64], n: int, share: float = 0.0
) -> NDArray[np.float64]:
    """Return by how much the error falls with each of `STEPS` more labels, by a power law.

    Args:
        sizes: Numbers of labels, `[s]`.
        errors: Mean error at each, `[s]`.
        n: Number of labels now.
        share: The asymptote as a share of the least error, in [0, 1).
    """
    z = np.log(sizes / n)
    e = np.log(np.maximum(errors - share * errors.min(), 1e-3))
    weight = np.asarray(sizes, np.float64)
    centre = np.average(z, weights=weight)
    slope = np.sum(weight * (z - centre) * e) / max(np.sum(weight * (z - centre) ** 2), 1e-12)
    decay = float(np.clip(-slope, 0, 1))
    now = float(np.exp(np.average(e, weights=weight) + decay * centre))  # at m = n, where z = 0
    return now * (1 - (1 + np.array(STEPS) / n) ** -decay)


def _describe(
    measured: tuple[tuple[int, float], ...], expected: tuple[tuple[int, Interval], ...]
) -> LearningCurve:
    step, gain = expected[STATED]
    if gain.high - gain.low > MAX_WIDTH:
        return LearningCurve(
            measured,
            (),
            "the gain from more labels cannot be estimated yet: too few random checks",
        )
    if gain.high < NEGLIGIBLE:
        sentence = f"{step} more labels would raise the accuracy by less than half a point"
        return LearningCurve(measured, expected, sentence)
    if gain.low <= 0:
        return LearningCurve(
            measured,
            expected,
            f"{step} more labels would raise the accuracy by {_format_points(gain.high)} at most, "
            "and perhaps not at all",
        )
    return LearningCurve(
        measured,
        expected,
        f"{step} more labels would raise the accuracy by about {_format_points(gain.value)} "
        f"({100 * gain.low:.0f} to {100 * gain.high:.0f})",
    )


def _format_points(gain: float) -> str:
    points = f"{100 * gain:.0f}"
    return f"{points} point" if points == "1" else f"{points} points"
