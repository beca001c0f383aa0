"""Answers at the Fréchet mean of the class probabilities, under the distances between classes.

Nicholas Roberts, Xintong Li, Dyah Adila, Sonia Cromp, Tzu-Heng Huang, Jitian Zhao, Frederic Sala,
2023, Geometry-Aware Adaptation for Pretrained Models, arXiv 2307.12226, equation 1.

    score_y(x) = - sum_c P(c | x) D(y, c)^2      c over classes with labelled rows, y over all

P is logistic regression on the labelled rows, its strength chosen on held-out ones, and D the
Euclidean distance between the hints of two classes: text embeddings, attributes, or places of any
width in which classes near each other lie near each other (ancestors in a tree, angles on a
circle). A class without a single labelled row is answered where the probabilities are spread over
the classes around it, and how far they spread is a matter of temperature. Where all classes have
rows it is 1, which held-out rows call honest. Where some have none, honest is too sharp, because
the rule was never asked of what it does not know: there the temperature is what gives the least
distance on classes with rows that are hidden in turn, as large a share of them as has no row in
truth. Hints that say nothing of the classes only cost accuracy; a permuted metric shows it. Not
every class can be answered: `reachable` says which (the paper's locus of the Fréchet mean). In
`ilk bench structure` angles never seen are named between those that were, at no cost elsewhere; a
kind never seen is the mean of no probabilities in a tree of ancestors, and there Loki answers as
its own likeliest class does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from ilk.data import Data, Features, Labels, Logits
from ilk.errors import InputError
from ilk.maths import folds
from ilk.maths.regression import Regression, regression
from ilk.models import Facts, Linear, affine, learnable

Matrix = NDArray[np.float64]
BLUNT = 2.0 ** -np.arange(0, 9, 0.5)  # factors of the scores that are tried
TESTED = 2000  # rows that try them


@dataclass(frozen=True, eq=False)
class Barycentre:
    """A linear rule for the classes with labelled rows, and how far each class lies from those.

    Attributes:
        weight: `[m, d]` float32, of the m classes that were seen, temperature and all.
        bias: `[m]` float32.
        squares: Squared distance of each class to each that was seen, `[k, m]` float32, divided by
            their mean between two different classes.
    """

    weight: Features
    bias: Features
    squares: Features

    def probabilities(self, x: Features) -> Logits:
        """Of the classes that were seen, `[n, m]` float64."""
        return np.asarray(softmax(affine(x, self.weight, self.bias), axis=1))

    def logits(self, x: Features) -> Logits:
        """Minus the expected squared distance to each class, `[n, k]` float64, at most 0."""
        return -self.probabilities(x) @ self.squares.T.astype(np.float64)


@dataclass(frozen=True)
class Loki(Facts):
    """Logistic regression that answers at the Fréchet mean.

    Attributes:
        temperature: What the scores are divided by before they become probabilities, > 0: towards 0
            the answer is that of the likeliest class. None chooses it as the module says.
        folds: Parts of the labelled rows (or of their classes) that choose it, >= 2.
    """

    needs_hints: ClassVar[bool] = True
    any_hints: ClassVar[bool] = True

    temperature: float | None = None
    folds: int = 5

    def __post_init__(self) -> None:
        if self.temperature is not None and not 0 < self.temperature < np.inf:
            raise ValueError(f"temperature is {self.temperature}; it must be above 0 and finite")
        if self.folds < 2:
            raise ValueError(f"folds is {self.folds}; at least 2 are needed")

    def fit(self, data: Data) -> Barycentre:
        known = learnable(data, self)
        squares = squared_distances(data)
        seen, y = np.unique(known.y, return_inverse=True)
        found = regression(known.x, y, len(seen), parts=self.folds)
        sharp = 1 / self.temperature if self.temperature else 1.0
        if self.temperature is None and len(seen) < data.k and len(seen) > 3:
            share = 1 - len(seen) / data.k
            sharp = self._blunter(known.x, y, squares[np.ix_(seen, seen)], found.C, share)
        rule = Linear.about(found.centre, sharp * found.weight, sharp * found.bias)
        return Barycentre(rule.weight, rule.bias, squares[:, seen].astype(np.float32))

    def _blunter(self, x: Features, y: Labels, squares: Matrix, C: float, share: float) -> float:
        """The factor of scores with the least mean distance where a share of classes is hidden."""
        m, part = len(squares), folds.stratified(y, 2)
        hidden = min(max(1, round(share * m)), m - 2)
        lost = np.zeros(len(BLUNT))
        for f in range(self.folds):
            out = np.random.default_rng(f).permutation(m)[:hidden]
            rest = np.setdiff1d(np.arange(m), out)
            learn = ~np.isin(y, out) & (part == f % 2)
            found = regression(x[learn], np.searchsorted(rest, y[learn]), len(rest), C)
            test = np.flatnonzero(~learn)[:: -(-int((~learn).sum()) // TESTED)]
            scores = _scores(found, x[test])
            for i, factor in enumerate(BLUNT):
                far = softmax(factor * scores, axis=1) @ squares[rest]
                lost[i] += squares[y[test], far.argmin(1)].mean()
        return float(BLUNT[int(lost.argmin())])


def _scores(found: Regression, x: Features) -> Matrix:
    return np.asarray((np.asarray(x, np.float64) - found.centre) @ found.weight.T + found.bias)


def reachable(squares: Matrix) -> NDArray[np.bool_]:
    """Which classes are the Fréchet mean of some probabilities of the classes seen, `[k]`.

    Args:
        squares: Squared distance of each class to each that was seen, `[k, m]`.
    """
    from scipy.optimize import linprog

    def reached(y: int) -> bool:
        found = linprog(
            np.zeros(squares.shape[1]),
            A_ub=squares[y] - np.delete(squares, y, axis=0),
            b_ub=np.zeros(len(squares) - 1),
            A_eq=np.ones((1, squares.shape[1])),
            b_eq=[1.0],
        )
        return bool(found.success)

    return np.array([reached(y) for y in range(len(squares))])


def squared_distances(data: Data) -> Matrix:
    """Squared distances between the hints of classes, `[k, k]`, 1 on average between two.

    Raises:
        InputError: There are no hints, or all lie in one place.
    """
    if data.hints is None:
        raise InputError(
            "Loki needs a text embedding of each class, or another place for it among the others, "
            "and there is none; take an encoder that reads text, or give Data.hints"
        )
    h = np.asarray(data.hints, np.float64)
    off = h - h.mean(0)
    own = np.sum(off**2, axis=1)
    squares = np.maximum(own[:, None] + own - 2 * off @ off.T, 0.0)
    np.fill_diagonal(squares, 0.0)
    level = squares.sum() / max(1, data.k * (data.k - 1))
    if data.k > 1 and level <= 0:
        raise InputError("Loki needs classes that lie apart, and all hints are the same")
    return np.asarray(squares / level if level > 0 else squares)
