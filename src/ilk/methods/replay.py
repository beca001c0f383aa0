"""Replay: a few herded rows of each old class are learnt again beside the new ones.

Sylvestre-Alvise Rebuffi, Alexander Kolesnikov, Georg Sperl, Christoph H. Lampert, 2017, iCaRL:
Incremental Classifier and Representation Learning, arXiv 1611.07725.

    rows        the new ones and the exemplars, `exemplars / classes seen` of each class
    minimise    CE(f(x), y) + distil * KD(f_old(x), f(x))            (KD: softened by T = 2)
    exemplars   herded: the mean of those picked stays nearest the class mean, in u = h / |h|
    nearest     score_c = -t |u(x) - mean_c|^2 / 2 with mean_c over the exemplars' u

`Replay()` is plain replay; `Replay(distil=1.0, nearest=True)` is iCaRL but for its sigmoids, whose
place softmax takes here as in most code after the paper. The sharpness t is ours and changes no
answer.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from ilk.data import Data, Features, Labels, Logits
from ilk.errors import InputError
from ilk.maths.gaussian import class_means
from ilk.maths.sharpness import sharpness
from ilk.models import Facts, Perceptron, affine, learnable, unit_rows
from ilk.training.arriving import arrival, checked, distilling, over_all, taught
from ilk.training.continual import Remembering, recalled, remembered, remembering, to_learn


@dataclass(frozen=True, eq=False)
class NearestExemplars(Remembering):
    """A head that is asked for its hidden units alone: the nearest mean of the exemplars answers.

    Attributes:
        means: Mean unit hidden units of each class's exemplars, `[k, h]` float32.
        sharp: What squared distances are multiplied by, > 0.
    """

    means: Features
    sharp: float

    def logits(self, x: Features) -> Logits:
        """Scores `[n, k]`, float64."""
        bias = np.where(np.isfinite(self.bias), -0.5 * np.sum(self.means**2, axis=1), -np.inf)
        scores: Logits = self.sharp * affine(self.hidden(x), self.means, bias, unit=True)
        return scores


@dataclass(frozen=True)
class Replay(Facts):
    """A head that goes on with exemplars.

    Attributes:
        exemplars: Rows kept in all, >= 0.
        distil: Weight of what the model before says, >= 0; 0 leaves it out.
        nearest: Answer by the nearest mean of exemplars rather than by the head's own scores.
        hidden: Units of the hidden layer, >= 1.
        steps: Updates each time that classes come, >= 1.
        seed: Draws weights and batches.
    """

    exemplars: int = 200
    distil: float = 0.0
    nearest: bool = False
    hidden: int = 64
    steps: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        checked(self.hidden, self.steps, self.exemplars)
        if not self.distil >= 0:
            raise ValueError(f"distil is {self.distil}; it must be at least 0")

    def fit(self, data: Data) -> Remembering:
        return self._learnt(learnable(data, self), None)

    def update(self, model: Remembering, data: Data) -> Remembering:
        """The head after learning the labelled rows of `data`, if there are any.

        Raises:
            ValueError: The two do not have the same number of classes.
        """
        rows = to_learn(len(model.bias), data, self)
        return self._learnt(rows, model) if rows else model

    def _learnt(self, rows: Data, before: Remembering | None) -> Remembering:
        from ilk.training.heads import cross_entropy

        pool = rows if before is None else recalled(rows, before)
        plain = None if before is None else _linear(before)
        grown = arrival(pool, plain, self.hidden, self.seed)
        if before is None or not self.distil:
            head = taught(grown, cross_entropy, self.steps, self.seed)
        else:
            objective = distilling(grown, lambda new, old: new + self.distil * old, over_all)
            head = taught(grown, objective, self.steps, self.seed)
        kept = remembered(head, *remembering(head, rows, self.exemplars, before))
        return _nearest(kept, rows, self.exemplars) if self.nearest else kept


def _linear(model: Remembering) -> Perceptron:
    """The head as it scores by itself, which is what is distilled and gone on from."""
    return Perceptron(*(getattr(model, f.name) for f in fields(Perceptron)))


def _nearest(model: Remembering, rows: Data, exemplars: int) -> NearestExemplars:
    """The exemplars' means, and the sharpness at which the rows just learnt are likeliest."""
    seen = np.flatnonzero(np.isfinite(model.bias))
    counts: Labels = np.bincount(model.owners, minlength=len(model.bias)).astype(np.int64)
    if (counts[seen] == 0).any():
        raise InputError(
            f"{exemplars} exemplars leave none for some of {len(seen)} classes, so that no mean is "
            "nearest; keep at least one a class, or set nearest=False"
        )
    u = unit_rows(model.hidden(model.exemplars))
    means = class_means(u, model.owners, counts).astype(np.float32)
    parts = {f.name: getattr(model, f.name) for f in fields(Remembering)}
    bare = NearestExemplars(**parts, means=means, sharp=1.0)
    if len(seen) < 2:
        return bare
    t = sharpness(bare.logits(rows.x)[:, seen], np.searchsorted(seen, rows.y))
    return replace(bare, sharp=t)
