"""A linear classifier of many classes, read as a classifier of groups of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ilk.core.data import Features, Labels, Logits
from ilk.core.linear_models import CHUNK_SIZE, apply_affine


@dataclass(frozen=True, eq=False)
class GroupedSoftmax:
    """`log sum_{j: group_j = c} softmax_j(x @ weight.T + bias)` for each group c.

    The probabilities of a row sum to at most 1; what lacks is the probability of group -1.

    Attributes:
        weight: `[m, d]` float32.
        bias: `[m]` float32.
        group: Group of each class, `[m]` int64, from 0 to k - 1, each with a class at least; -1 for
            classes outside all groups.
    """

    kind: ClassVar[str] = "grouped_softmax"

    weight: Features
    bias: Features
    group: Labels

    def logits(self, x: Features) -> Logits:
        """Return log-probabilities of the groups, `[n, k]` float64, at most 0."""
        order = np.argsort(self.group, kind="stable")
        names, starts = np.unique(self.group[order], return_index=True)
        weight, bias, is_inside = self.weight[order], self.bias[order], names >= 0
        out = np.empty((len(x), int(is_inside.sum())))
        for start in range(0, len(x), CHUNK_SIZE):
            z = apply_affine(x[start : start + CHUNK_SIZE], weight, bias)
            top = np.maximum.reduceat(z, starts, axis=1)
            z -= np.repeat(top, np.diff([*starts, len(order)]), axis=1)
            sums = top + np.log(np.add.reduceat(np.exp(z), starts, axis=1))
            total = np.logaddexp.reduce(sums, axis=1, keepdims=True)
            out[start : start + CHUNK_SIZE] = (sums - total)[:, is_inside]
        return out
