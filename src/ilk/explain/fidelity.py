"""How much a map says about the answer: pixels are put in and taken away in its order.

Vitali Petsiuk, Abir Das, Kate Saenko, 2018, RISE, arXiv 1806.07421, section 4.2. With pixels in
decreasing order of the map and a share q of them,

    insertion(q) = f(only the first q of the image),  deletion(q) = f(all but the first q)
    score = mean over baselines of  sum_q (insertion(q) - deletion(q)) / n,  q = 1/n .. (n-1)/n

which is the area under the insertion curve minus that under the deletion curve by the trapezoid
rule: at both ends the two curves meet what the other one left. Both use the same baseline, so the
inverted map has exactly minus the score and a random map has the mean 0.

Departures: two baselines, a blurred copy and the mean colour, in place of blur for one curve and
black for the other, since either alone changes the ranking of maps; few steps, which cost passes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.explain.baselines import FILLS
from ilk.explain.contract import Map
from ilk.explain.subject import Subject

N_STEPS = 5
TIE_NOISE = 1e-6  # of the range of a map: without it, equal pixels would be taken row by row


@dataclass(frozen=True, eq=False)
class Fidelity:
    """Answers while pixels are put in or taken away in the order of a map.

    Attributes:
        insertion: Answers with only the first share of pixels, `[baselines, n - 1]`.
        deletion: Answers without the first share of pixels, `[baselines, n - 1]`.
    """

    insertion: NDArray[np.float64]
    deletion: NDArray[np.float64]

    @property
    def by_baseline(self) -> NDArray[np.float64]:
        """Insertion minus deletion with each baseline, `[baselines]`."""
        n = self.insertion.shape[1] + 1
        return np.asarray((self.insertion - self.deletion).sum(1) / n)

    @property
    def score(self) -> float:
        """Insertion minus deletion, mean over baselines, in (-1, 1)."""
        return float(self.by_baseline.mean())


def rank_pixels(values: Map, seed: int = 0) -> NDArray[np.float64]:
    """Return the rank of each pixel, `[h, w]` in [0, 1): 0 for the largest; ties at random."""
    flat = np.asarray(values, np.float64).ravel()
    noise = np.random.default_rng(seed).random(flat.size)
    width = float(np.ptp(flat)) or 1.0
    order = np.argsort(-(flat + TIE_NOISE * width * noise), kind="stable")
    rank = np.empty(flat.size)
    rank[order] = np.arange(flat.size) / flat.size
    return rank.reshape(values.shape)


def measure_fidelity(
    subject: Subject, values: Map, n_steps: int = N_STEPS, seed: int = 0
) -> Fidelity:
    """Measure a map `[h, w]` of a subject; costs `4 (n_steps - 1)` passes."""
    rank = rank_pixels(values, seed)
    shares = np.arange(1, n_steps) / n_steps
    kept = rank[None] < shares[:, None, None]
    masks = np.concatenate([kept, ~kept])
    answers = np.stack([subject.score_masks(masks, fill) for fill in FILLS])
    return Fidelity(answers[:, : len(shares)], answers[:, len(shares) :])
