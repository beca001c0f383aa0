"""RISE: the mean of random masks, weighted by the answer to the image under each.

Vitali Petsiuk, Abir Das, Kate Saenko, 2018, RISE, arXiv 1806.07421, equation 6:

    S = sum_i (f(x * M_i) - mean f) M_i / (N p (1 - p))

with masks of a random grid of `side` x `side` cells, enlarged smoothly and shifted by chance.

Departures: the mean answer is taken away before the sum. Without it the map is the mean mask times
the mean answer, plus the noise of N draws; with it the value of a pixel estimates by how much the
answer rises when its cell is kept, in the answer's unit. Pixels that are taken away are blurred,
not black. f is the log-odds of the answer. `split_half_correlation` says how much is noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ilk.explain.contract import ExplainerTags, Map, check_least
from ilk.explain.subject import MAX_ROWS, Subject
from ilk.explain.windows import resize_map


@dataclass(frozen=True)
class Rise(ExplainerTags):
    """Randomized input sampling.

    Attributes:
        n_masks: Number of masks, at least 4.
        side: Cells along a side, at least 2.
        keep: Probability that a cell is kept, in (0, 1).
    """

    name: ClassVar[str] = "rise"
    paper: ClassVar[str] = "Petsiuk, Das and Saenko 2018"
    default_candidate: ClassVar[bool] = True

    n_masks: int = 200
    side: int = 7
    keep: float = 0.5

    def __post_init__(self) -> None:
        check_least(self, n_masks=4, side=2)
        if not 0 < self.keep < 1:
            raise ValueError(f"keep is {self.keep}; it must lie in (0, 1)")

    def count_passes(self, subject: Subject, /) -> int:
        """Return the number of masks."""
        return self.n_masks

    def explain(self, subject: Subject, seed: int, /) -> Map:
        """Return the mean effect of keeping each pixel."""
        return np.asarray(self.explain_halves(subject, seed).mean(0), np.float32)

    def explain_halves(self, subject: Subject, seed: int = 0) -> NDArray[np.float64]:
        """Return the maps of either half of the masks, `[2, h, w]`."""
        rng = np.random.default_rng(seed)
        sums = np.zeros((2, *subject.shape))
        totals, means, counts = np.zeros(2), np.zeros((2, *subject.shape)), np.zeros(2)
        for start in range(0, self.n_masks, MAX_ROWS):
            n = min(MAX_ROWS, self.n_masks - start)
            masks = np.stack([self.draw_mask(subject.shape, rng) for _ in range(n)])
            falls = -subject.measure_falls(masks)
            for half in (0, 1):
                kept, answer = masks[half::2], falls[half::2]
                sums[half] += np.tensordot(answer, kept, 1)
                means[half] += kept.sum(0)
                totals[half] += answer.sum()
                counts[half] += len(kept)
        offset = totals.sum() / counts.sum()
        variance = self.keep * (1 - self.keep)
        return np.asarray((sums - offset * means) / (counts[:, None, None] * variance))

    def draw_mask(self, shape: tuple[int, int], rng: np.random.Generator) -> Map:
        """Return a mask `[h, w]` in [0, 1]: a random grid, enlarged and shifted by chance."""
        cell = [-(-length // self.side) for length in shape]
        grid = (rng.random((self.side + 1, self.side + 1)) < self.keep).astype(np.float32)
        large = resize_map(grid, ((self.side + 1) * cell[0], (self.side + 1) * cell[1]))
        top, left = (int(rng.integers(c)) for c in cell)
        return np.clip(large[top : top + shape[0], left : left + shape[1]], 0, 1)


def split_half_correlation(halves: NDArray[np.float64]) -> float:
    """Return the correlation of two maps `[2, h, w]` of independent masks: 1 without noise."""
    first, second = halves.reshape(2, -1)
    if first.std() == 0 or second.std() == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])
