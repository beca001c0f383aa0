"""A guard for methods that learn from rows without a label: what they gain must be in evidence.

Which rows are hidden and how they weigh hangs on the method's own answers from labelled rows alone.
The two constants were set on MNIST, notMNIST, USPS, pendigits, PACS and the first set of Omniglot;
`ilk bench few_labels` measures on others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import numpy as np

from ilk.data import UNKNOWN, Data, Logits
from ilk.maths.folds import count, stratified
from ilk.maths.gaussian import Matrix
from ilk.metrics import log_softmax, softmax
from ilk.models import Model

FOLDS = 5
EXCUSE = 0.2  # nats a row that uneven shares seem to gain when means of a few rows lie off
ABSENT = 0.5  # of an even share: rows of a class thought rarer than that are not hidden

M = TypeVar("M", bound=Model)


def guarded(data: Data, fit: Callable[[Data], M]) -> M:
    """`fit(data)` where there is evidence for it, else what `fit` makes of the labelled rows alone.

    Two things must hold, neither of which asks for a label that is not there:

    1. The rows without a label are not as likely of each class: their likelihood under the shares
       that fit them best beats that under even shares by `(classes - 1) / 2 log rows` (Schwarz's
       criterion) and `EXCUSE` nats a row. Where all classes are as likely, these methods have
       nothing to find, and what they take for uneven shares is the error of the means.
    2. Labelled rows hidden among the others, a fold at a time, are answered better with the rows
       without a label than without them. Each hidden row counts as often as its class is thought to
       occur among those. Where no class has two labelled rows, nothing can be hidden.
    """
    plain = fit(data.labelled())
    if not (data.y < 0).any():
        return plain
    logits = plain.logits(data.unlabelled().x)
    share = shares(logits)
    uneven = evidence(logits, share) > EXCUSE * len(logits)
    return fit(data) if uneven and hidden_gain(data, fit, share) > 0 else plain


def shares(logits: Logits, rounds: int = 50) -> Matrix:
    """Share of each class among rows scored `logits [n, k]` as if all were equally likely, `[k]`.

    Saerens, Latinne, Decaestecker 2002, doi:10.1162/089976602753284446: EM over the shares alone.
    """
    able = np.isfinite(logits[0])
    share = able / able.sum()
    for _ in range(rounds):
        share = softmax(logits + _log(share), axis=1).mean(0)
    return np.asarray(share)


def evidence(logits: Logits, share: Matrix) -> float:
    """Nats by which shares `[k]` fit rows better than even ones, less Schwarz's price for them."""
    able = np.isfinite(logits[0])
    own = log_softmax(logits[:, able], axis=1)
    gain = np.log(np.maximum(np.exp(own) @ share[able] * able.sum(), 1e-300)).sum()
    return float(gain - 0.5 * (able.sum() - 1) * np.log(len(logits)))


def hidden_gain(data: Data, fit: Callable[[Data], Model], share: Matrix) -> float:
    """Share of hidden labelled rows that the unlabelled put right, less what they put wrong.

    In [-1, 1], with classes weighing as `share [k]` says; -1 where nothing can be hidden.
    """
    counts = data.counts()
    able = (counts > 1) & (share * np.count_nonzero(counts) > ABSENT)
    rows = np.flatnonzero((data.y >= 0) & able[data.y])
    folds = count(data.y[rows], FOLDS) if len(rows) else 0
    if folds < 2:
        return -1.0
    fold, gain = stratified(data.y[rows], folds), 0.0
    for f in range(folds):
        held = rows[fold == f]
        y = data.y.copy()
        y[held] = UNKNOWN
        hidden, truth = replace(data, y=y), data.y[held]
        weight = share[truth] / counts[truth]
        for sign, part in ((1, hidden), (-1, hidden.labelled())):
            right = fit(part).logits(data.x[held]).argmax(1) == truth
            gain += sign * float(weight @ right)
    return gain


def _log(share: Matrix) -> Matrix:
    return np.log(share, where=share > 0, out=np.full(len(share), -np.inf))
