"""Whether a map can be trusted on this image, in one sentence.

The map's score (`ilk.explain.fidelity`) is compared with maps of the same image that know nothing
of the answer. Random fields have the mean 0, as an inverted field is as likely, so their spread is
`s = sqrt(mean score^2)` with as many degrees of freedom as there are fields, and

    score - (score of a random map)  lies in  score -+ t s,  t of Student at LEVEL, one-sided

A random map passes this condition in 1 - LEVEL of images, and all conditions together more rarely.
If the map is the best of several of the same image, 1 - LEVEL is divided by their number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.explain.baselines import FILLS
from ilk.explain.contract import Map
from ilk.explain.controls import draw_random_map, make_centre_map, make_edge_map
from ilk.explain.fidelity import Fidelity, measure_fidelity
from ilk.explain.subject import Subject

N_RANDOM = 8
LEVEL = 0.95  # that the score is above that of a random map; the interval is two-sided at 90 %
MIN_CHANGE = 0.05  # of the answer when the image is emptied; below there is nothing to explain
NOT_HERE = "Not trustworthy here"


@dataclass(frozen=True, eq=False)
class Controls:
    """Scores of maps of one image that know nothing of the answer.

    Attributes:
        random: Scores of random fields, `[r]`.
        centre: Score of the centre.
        edges: Score of the edges.
        emptied: Answers for the image without its content, one per baseline.
    """

    random: NDArray[np.float64]
    centre: float
    edges: float
    emptied: tuple[float, ...]

    @property
    def spread(self) -> float:
        """Root mean square of the random scores, whose mean is 0."""
        return float(np.sqrt(np.mean(self.random**2)))


@dataclass(frozen=True, eq=False)
class Verdict:
    """Whether a map can be trusted on its image.

    Attributes:
        is_trustworthy: Whether every condition holds.
        sentence: Why, or why not.
        score: Insertion minus deletion, mean over two baselines, in (-1, 1).
        interval: 90 % interval of the difference between the score and that of a random map.
        controls: Scores of `random` (their mean), `random_spread`, `centre`, `edges` and `inverted`
            maps, and of the map with each baseline: `blur`, `mean`.
    """

    is_trustworthy: bool
    sentence: str
    score: float
    interval: tuple[float, float]
    controls: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "is_trustworthy": self.is_trustworthy,
            "sentence": self.sentence,
            "score": self.score,
            "interval": list(self.interval),
            "controls": self.controls,
        }


def measure_controls(subject: Subject, seed: int = 0, n_random: int = N_RANDOM) -> Controls:
    """Measure maps that know nothing of the answer; once per image, for all maps of it."""
    rng = np.random.default_rng(seed)
    fields = [draw_random_map(subject.shape, rng) for _ in range(n_random)]
    scores = [measure_fidelity(subject, field).score for field in fields]
    centre = measure_fidelity(subject, make_centre_map(subject.shape))
    edges = measure_fidelity(subject, make_edge_map(subject.picture))
    empty = np.zeros((1, *subject.shape), np.float32)
    emptied = tuple(float(subject.score_masks(empty, fill)[0]) for fill in FILLS)
    return Controls(np.array(scores), centre.score, edges.score, emptied)


def judge(
    values: Map, fidelity: Fidelity, subject: Subject, controls: Controls, n_tried: int = 1
) -> Verdict:
    """Say whether a map can be trusted on its image.

    Args:
        values: The map, `[h, w]`.
        fidelity: What was measured of it.
        subject: What it explains.
        controls: What was measured of maps that know nothing.
        n_tried: Number of maps of this image that it was chosen from by this score.
    """
    from scipy.special import stdtrit

    alpha = (1 - LEVEL) / n_tried
    half = float(stdtrit(len(controls.random), 1 - alpha)) * controls.spread
    score = fidelity.score
    interval = (score - half, score + half)
    reason = _find_reason(values, fidelity, subject, controls, interval)
    known = {
        "random": float(controls.random.mean()),
        "random_spread": controls.spread,
        "centre": controls.centre,
        "edges": controls.edges,
        "inverted": -score,
        **dict(zip(FILLS, fidelity.by_baseline.tolist(), strict=True)),
    }
    beyond = f"{score:.2f}, {interval[0]:.2f} to {interval[1]:.2f} above random maps"
    sentence = (
        f"{NOT_HERE}: {reason}."
        if reason
        else f"Trustworthy here: the answer follows what the map marks ({beyond}; centre "
        f"{controls.centre:.2f}, edges {controls.edges:.2f})."
    )
    return Verdict(not reason, sentence, score, interval, known)


def _find_reason(
    values: Map,
    fidelity: Fidelity,
    subject: Subject,
    controls: Controls,
    interval: tuple[float, float],
) -> str:
    """Return why the map cannot be trusted, or ""."""
    score, low = fidelity.score, interval[0]
    if float(np.ptp(values)) == 0.0:
        return "the map has the same value everywhere"
    if max(abs(subject.value - empty) for empty in controls.emptied) < MIN_CHANGE:
        return (
            "the answer hardly changes when the whole image is blurred or filled with one colour "
            f"({subject.value:.2f} before, {controls.emptied[0]:.2f} and "
            f"{controls.emptied[1]:.2f} after), so no place in it carries the answer"
        )
    if low <= 0:
        return (
            "removing what it marks changes the answer no more than removing random parts "
            f"({score:.2f}, {low:.2f} to {interval[1]:.2f} above random maps)"
        )
    if fidelity.by_baseline.min() <= 0:
        return (
            "it holds for only one way of removing pixels "
            f"(blurred {fidelity.by_baseline[0]:.2f}, mean colour {fidelity.by_baseline[1]:.2f})"
        )
    simple = max((controls.centre, "the middle of the image"), (controls.edges, "all edges"))
    if score <= simple[0]:
        return (
            f"{simple[1]} would explain the answer as well ({simple[0]:.2f}; the map {score:.2f})"
        )
    return ""
