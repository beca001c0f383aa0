"""A discriminator: the log odds that a row is of the target and not of the source.

With rows of both drawn from densities q (target) and p (source), the best classifier has the log
odds `log q(x) / p(x)` up to a constant: the weight of importance sampling (Hidetoshi Shimodaira,
2000, doi:10.1016/S0378-3758(00)00115-4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ilk.core.data import Data
from ilk.maths.out_of_fold import fit_head
from ilk.subset_selection.selectors.selector import (
    Scores,
    SelectorTags,
    require_target,
    standardize,
)


@dataclass(frozen=True)
class TargetDiscriminator(SelectorTags):
    """Logistic regression of target against source, both with the same total weight."""

    needs_target: ClassVar[bool] = True

    def score(self, source: Data, target: Data | None, _seed: int) -> Scores:
        """Return the log odds of the target, `[n]`."""
        x, t = standardize(source.x, require_target(target).x)
        weight = np.concatenate([np.full(len(x), 1.0), np.full(len(t), len(x) / len(t))])
        head = fit_head(
            Data(
                np.concatenate([x, t]).astype(np.float32),
                np.repeat([0, 1], [len(x), len(t)]),
                ("source", "target"),
                weight=weight,
            )
        )
        logits = (x - head.centre) @ head.weight.T + head.bias
        return np.asarray(logits[:, 1] - logits[:, 0], np.float64)
