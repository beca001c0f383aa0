"""A linear classifier of many classes, read as a classifier of groups of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Features, Labels, Logits
from ilk.core.linear_models import CHUNK_SIZE, apply_affine


@dataclass(frozen=True, eq=False)
class GroupedSoftmax:
    """`log (p_c + p_outside / k)`, p_c the sum of `softmax(x @ weight.T + bias)` over group c.

    What the classifier believes to lie outside all groups tells nothing of which group a row is in,
    so it is spread evenly. The probabilities of a row sum to 1.

    Attributes:
        weight: `[m, d]` float32.
        bias: `[m]` float32.
        group: Group of each class, `[m]` int64, from 0 to k - 1, each with a class at least; -1 for
            classes outside all groups.
    """

    kind: ClassVar[str] = "grouped_softmax"
    shapes: ClassVar[dict[str, str]] = {"weight": "m d", "bias": "m", "group": "m"}

    weight: Features
    bias: Features
    group: Labels

    def logits(self, x: Features) -> Logits:
        """Return log-probabilities of the groups, `[n, k]` float64, at most 0."""
        sums = self._sum_groups(x)
        inside, outside = sums[:, 1:], sums[:, :1]
        return np.asarray(np.logaddexp(inside, outside - np.log(inside.shape[1])))

    def outside(self, x: Features) -> NDArray[np.float64]:
        """Return the probability outside all groups, `[n]`, in [0, 1]."""
        return np.asarray(np.exp(self._sum_groups(x)[:, 0]))

    def _sum_groups(self, x: Features) -> NDArray[np.float64]:
        """Return log-probabilities outside the groups and of each of them, `[n, 1 + k]`."""
        order = np.argsort(self.group, kind="stable")
        names, starts = np.unique(self.group[order], return_index=True)
        sizes, weight, bias = np.diff([*starts, len(order)]), self.weight[order], self.bias[order]
        out = np.full((len(x), int(names[-1]) + 2), -np.inf)
        for start in range(0, len(x), CHUNK_SIZE):
            z = apply_affine(x[start : start + CHUNK_SIZE], weight, bias)
            top = np.maximum.reduceat(z, starts, axis=1)  # of each group, so that none is log 0
            z -= np.repeat(top, sizes, axis=1)
            sums = top + np.log(np.add.reduceat(np.exp(z), starts, axis=1))
            sums -= np.logaddexp.reduce(sums, axis=1, keepdims=True)
            out[start : start + CHUNK_SIZE, names + 1] = sums
        return out
