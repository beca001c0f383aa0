"""What the judged images say: per class, confused pairs, sets by size, mistakes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ilk.data import Labels
from ilk.metrics import Interval, reliability, wilson
from ilk.report.evidence import Evidence

BINS = 10  # of the reliability curve: few enough that each holds something


@dataclass(frozen=True)
class Pair:
    """`count` images of class `truth` were called `answer`."""

    truth: int
    answer: int
    count: int


@dataclass(frozen=True)
class ClassScore:
    """One class among the judged images; `precision` is None where it was never answered."""

    index: int
    n: int
    recall: Interval
    precision: float | None
    confused: Pair | None


@dataclass(frozen=True)
class SetSize:
    """`n` sets hold from `low` to `high` names; `held` of them hold the true one."""

    low: int
    high: int
    n: int
    held: int


@dataclass(frozen=True)
class Bin:
    """Images of one bin of stated confidence: the mean stated, and the share right."""

    index: int
    stated: float
    right: Interval
    n: int


class Figures:
    """Figures derived once from the arrays of an `Evidence`; pairs stay sparse for large k."""

    def __init__(self, evidence: Evidence) -> None:
        self.y = np.asarray(evidence.y, np.int64)
        self.k = len(evidence.classes)
        self.probabilities = evidence.probabilities
        empty = not len(self.y)
        self.answer: Labels = (
            self.y if empty else np.argmax(evidence.probabilities, 1).astype(np.int64)
        )
        self.confidence: NDArray[np.float64] = np.asarray(
            [] if empty else np.max(evidence.probabilities, 1), np.float64
        )
        self.size: Labels = np.asarray(evidence.sets, bool).sum(1, dtype=np.int64)
        self.held = np.asarray(evidence.sets, bool)[np.arange(len(self.y)), self.y]

    def __len__(self) -> int:
        return len(self.y)

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether the top answer is true, `[n]`."""
        same: NDArray[np.bool_] = np.equal(self.y, self.answer)
        return same

    @cached_property
    def pairs(self) -> list[Pair]:
        """Every (truth, answer) that occurs, most frequent first."""
        codes, counts = np.unique(self.y * self.k + self.answer, return_counts=True)
        order = np.argsort(-counts, kind="stable")
        return [
            Pair(int(codes[i]) // self.k, int(codes[i]) % self.k, int(counts[i])) for i in order
        ]

    @property
    def confused(self) -> list[Pair]:
        """The pairs that are mistakes, most frequent first."""
        return [p for p in self.pairs if p.truth != p.answer]

    @cached_property
    def classes(self) -> list[ClassScore]:
        """Each class, in the order of the class list."""
        n = np.bincount(self.y, minlength=self.k)
        answered = np.bincount(self.answer, minlength=self.k)
        right = np.bincount(self.y[self.right], minlength=self.k)
        worst: dict[int, Pair] = {}
        for pair in self.confused:
            worst.setdefault(pair.truth, pair)
        return [
            ClassScore(
                c,
                int(n[c]),
                wilson(int(right[c]), int(n[c])),
                float(right[c] / answered[c]) if answered[c] else None,
                worst.get(c),
            )
            for c in range(self.k)
        ]

    @cached_property
    def mistakes(self) -> Labels:
        """Rows answered wrongly, the surest first."""
        wrong = np.flatnonzero(~self.right)
        return wrong[np.argsort(-self.confidence[wrong], kind="stable")]

    def bins(self) -> list[Bin]:
        """The reliability curve, each bin with the interval that its few images deserve."""
        if not len(self):
            return []
        return [
            Bin(min(int(stated * BINS), BINS - 1), stated, wilson(round(share * n), n), n)
            for stated, share, n in reliability(self.y, self.probabilities, BINS)
        ]

    def set_sizes(self) -> list[SetSize]:
        """Sets by how many names they hold, in steps that widen: 0, 1, 2, 3, 4 to 5, 6 to 10…"""
        found = []
        for low, high in _steps(self.k):
            inside = (self.size >= low) & (self.size <= high)
            if inside.any():
                found.append(SetSize(low, high, int(inside.sum()), int(self.held[inside].sum())))
        return found


def _steps(k: int) -> list[tuple[int, int]]:
    edges = [(0, 0), (1, 1), (2, 2), (3, 3), (4, 5), (6, 10), (11, 30), (31, 100), (101, k)]
    return [(low, min(high, k)) for low, high in edges if low <= k]
