"""Adds to the class names those descriptions, out of a pool, that tell the likeliest classes apart.

Pingchuan Ma, Lennart Rietdorf, Dmytro Kotovenko, Vincent Tao Hu, Björn Ommer, 2024, Does VLM
Classification Benefit from LLM Description Semantics?, arXiv 2412.11917.

    S[d, c]  = mean of cos(x, t_d) over the labelled rows of class c
    score_c(x) = names cos(x, t_c) + mean of cos(x, t_d) over the descriptions chosen for c

For each row the `rivals` likeliest classes by name alone are taken. A description may speak for
class c among them if no rival's labelled rows are more like it; of those, the `keep` with the
greatest mean lead speak. The descriptions (`Data.pool`) name no class and belong to none, so what
they add is their meaning and not one more wording of the name. A class that nothing speaks for is
given the mean of all rivals' descriptions, where the published code divides by zero. Classes beyond
the rivals keep their places behind them. Without a pool this is zero-shot by name. In
`ilk bench structure` chosen descriptions beat random and reassigned ones by far, as the paper says,
but names learnt by the same model beat them all, and adding descriptions to names costs accuracy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ilk.data import Data, Features, Labels, Logits, one_hot
from ilk.errors import InputError
from ilk.maths.gaussian import Matrix
from ilk.models import CHUNK, Facts, hinted, learnable, unit_rows


@dataclass(frozen=True, eq=False)
class Described:
    """Names, descriptions, and how like each description the rows of each class are.

    Attributes:
        text: Unit rows `[k, d]` float32, of the names.
        pool: Unit rows `[m, d]` float32, of the descriptions; m may be 0.
        similar: S, `[m, k]` float32; nan for a class without a labelled row.
        names: Weight of the name.
        rivals: Classes that are told apart.
        keep: Descriptions a class.
        scale: Factor of all scores.
    """

    text: Features
    pool: Features
    similar: Features
    names: float
    rivals: int
    keep: int
    scale: float

    def logits(self, x: Features) -> Logits:
        """Scores `[n, k]`, float64."""
        out = np.empty((len(x), len(self.text)))
        for at in range(0, len(x), CHUNK):
            out[at : at + CHUNK] = self._logits(unit_rows(x[at : at + CHUNK]))
        return self.scale * out

    def _logits(self, u: Matrix) -> Logits:
        name = u @ self.text.T.astype(np.float64)
        out: Logits = (self.names if len(self.pool) else 1.0) * name
        if not len(self.pool) or not len(u):
            return out
        like, rivals = u @ self.pool.T.astype(np.float64), min(self.rivals, len(self.text))
        top = np.sort(np.argsort(-name, axis=1, kind="stable")[:, :rivals], axis=1)
        groups, member = np.unique(top, axis=0, return_inverse=True)
        for g, classes in enumerate(groups):
            rows = np.flatnonzero(member.ravel() == g)
            added = self._added(like[rows], classes)
            out[rows] += added.min(1, keepdims=True)
            out[np.ix_(rows, classes)] += added - added.min(1, keepdims=True)
        return out

    def _added(self, like: Matrix, classes: Labels) -> Matrix:
        """What descriptions say for each of `classes`, `[n, rivals]`."""
        chosen = [speaking(self.similar[:, classes], i, self.keep) for i in range(len(classes))]
        every = [d for part in chosen for d in part]
        even = like[:, every].mean(1) if every else np.zeros(len(like))
        return np.stack([like[:, part].mean(1) if len(part) else even for part in chosen], 1)


@dataclass(frozen=True)
class DescriptionSelection(Facts):
    """Zero-shot names, and chosen descriptions.

    Attributes:
        names: Weight of the name beside the mean of the descriptions, >= 0; at 0 names only say
            which classes are the likeliest.
        rivals: Likeliest classes that descriptions tell apart, >= 2.
        keep: Descriptions that speak for a class, >= 1.
        scale: Factor of the scores, > 0; CLIP learnt 100.
    """

    needs_hints: ClassVar[bool] = True

    names: float = 1.0
    rivals: int = 3
    keep: int = 5
    scale: float = 100.0

    def __post_init__(self) -> None:
        if not (0 <= self.names < np.inf and 0 < self.scale < np.inf):
            raise ValueError(f"names is {self.names} and scale {self.scale}; give >= 0 and > 0")
        if self.rivals < 2 or self.keep < 1:
            raise ValueError(f"rivals is {self.rivals} and keep {self.keep}; give >= 2 and >= 1")

    def fit(self, data: Data) -> Described:
        known, text = learnable(data, self), unit_rows(hinted(data, self))
        pool = np.zeros((0, text.shape[1])) if data.pool is None else unit_rows(data.pool)
        if pool.shape[1] != text.shape[1]:
            raise InputError(
                f"descriptions are {pool.shape[1]} numbers long and names {text.shape[1]}; both "
                "must come from one encoder"
            )
        counts = known.counts()
        sums = (unit_rows(known.x) @ pool.T).T @ one_hot(known.y, data.k)
        similar = np.full(sums.shape, np.nan)
        similar[:, counts > 0] = sums[:, counts > 0] / counts[counts > 0]
        text, pool, similar = (np.asarray(a, np.float32) for a in (text, pool, similar))
        return Described(text, pool, similar, self.names, self.rivals, self.keep, self.scale)


def speaking(similar: Features, i: int, keep: int) -> Labels:
    """Descriptions that speak for class i of `similar [m, rivals]`: the greatest mean leads."""
    lead = similar[:, i : i + 1] - np.delete(similar, i, axis=1)
    able = np.flatnonzero((lead >= 0).all(1))  # never where a class is nan: nothing is known of it
    order = np.argsort(-lead[able].mean(1), kind="stable")
    return np.asarray(able[order[:keep]], np.int64)
