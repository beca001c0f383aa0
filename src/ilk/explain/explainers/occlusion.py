"""Occlusion: how much the answer falls when a window is covered, coarse first, finer where it does.

Matthew D. Zeiler, Rob Fergus, 2014, Visualizing and Understanding Convolutional Networks, arXiv
1311.2901, section 4.2.

    S(w) = f(x) - f(x with window w filled)
    value of a pixel = mean S(w) over the windows that cover it

Departures: f is the log-odds of the answer, since a probability near 1 does not move; the windows
that matter are looked at again with windows of half the side, `n_levels` times, and a pixel then
has the mean over all sizes. The window is filled with a blurred copy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ilk.explain.contract import ExplainerTags, Map, check_least
from ilk.explain.subject import Subject
from ilk.explain.windows import Window, average_windows, cut_windows, tile_windows


@dataclass(frozen=True)
class Occlusion(ExplainerTags):
    """Hierarchical occlusion.

    Attributes:
        n_windows: Coarse windows along a side, which overlap by half.
        n_levels: How often the windows that matter are halved.
        refined_part: Part of the picture that is looked at again at each level, in (0, 1].
    """

    name: ClassVar[str] = "occlusion"
    paper: ClassVar[str] = "Zeiler and Fergus 2014"
    default_candidate: ClassVar[bool] = True

    n_windows: int = 4
    n_levels: int = 1
    refined_part: float = 0.3

    def __post_init__(self) -> None:
        check_least(self, n_windows=1, n_levels=0)
        if not 0 < self.refined_part <= 1:
            raise ValueError(f"refined_part is {self.refined_part}; it must lie in (0, 1]")

    def count_passes(self, subject: Subject, /) -> int:
        """Return the number of windows, at most."""
        coarse = (2 * self.n_windows + 1) ** 2
        fine = [self.refined_part * coarse * 4**i for i in range(1, self.n_levels + 1)]
        return int(coarse + round(sum(fine)))

    def explain(self, subject: Subject, seed: int, /) -> Map:
        """Return the mean fall of the answer over the windows that cover each pixel."""
        side = max(1, round(max(subject.shape) / self.n_windows))
        windows = tile_windows(subject.shape, side, max(1, side // 2))
        mean = self._measure(subject, windows)
        maps = [mean]
        for _ in range(self.n_levels):
            side = side // 2
            if side < 2:
                break
            windows = self._choose_windows(subject, np.mean(maps, axis=0), side)
            fine = self._measure(subject, windows)
            is_covered = average_windows(subject.shape, windows, np.ones(len(windows))) > 0
            # Elsewhere the coarse map stands, shrunk as much as the answers to small windows are.
            scale = np.abs(fine[is_covered]).sum() / max(np.abs(mean[is_covered]).sum(), 1e-12)
            maps.append(np.where(is_covered, fine, mean * min(scale, 1.0)).astype(np.float32))
        return np.asarray(np.mean(maps, axis=0), np.float32)

    def _measure(self, subject: Subject, windows: list[Window]) -> Map:
        falls = subject.measure_falls(cut_windows(subject.shape, windows))
        return average_windows(subject.shape, windows, falls)

    def _choose_windows(self, subject: Subject, coarse: Map, side: int) -> list[Window]:
        """Return the small windows in the part of the picture with the largest coarse values."""
        windows = tile_windows(subject.shape, side, max(1, side // 2))
        means = np.array([np.abs(coarse[t:b, left:r]).mean() for t, left, b, r in windows])
        kept = np.argsort(-means, kind="stable")[: max(1, round(self.refined_part * len(windows)))]
        return [windows[i] for i in sorted(kept)]
