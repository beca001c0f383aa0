"""A random subset, the baseline of all selectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ilk.core.data import Data
from ilk.subset_selection.selectors.selector import Scores, SelectorTags


@dataclass(frozen=True)
class RandomSubset(SelectorTags):
    """Images in random order."""

    is_baseline: ClassVar[bool] = True

    def score(self, source: Data, _target: Data | None, seed: int) -> Scores:
        """Return numbers in [0, 1) drawn at random, `[n]`."""
        return np.random.default_rng(seed).random(len(source))
