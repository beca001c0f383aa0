"""Few labels of new classes: an embedding learnt on other classes, by losses that part prototypes.

Mauricio Mendez-Ruiz, Jorge Gonzalez-Zapata, Ivan Reyes-Amezcua, Daniel Flores-Araiza, Francisco
Lopez-Tiro, Andres Mendez-Vazquez, Gilberto Ochoa-Ruiz, 2023, SuSana Distancia is all you need,
arXiv 2305.09062. A batch is played as a task: half of each class's rows are averaged to a prototype
c, the others q ask. With d the squared distance of embedded rows,

    Proto-Triplet   mean over classes k, q of k, q' of others:  [d(c_k, q) - d(c_k, q') + margin]+
    ICNN            -log mean over rows (1 - intra) inter share

of mean distances to the nearest rows of the same class and of others (over the largest distance),
and of the share of the same class among the nearest. We depart in four things: the embedding is a
rectified layer on frozen features, not a network on pixels; the mean is over the triplets that cost
something; the exact scaling inside ICNN is ours; and both may be mixed with the prototypical loss.
Answers are those of the nearest mean in the embedding. On frozen features the two do not beat the
prototypical loss with the same budget (`ilk bench few_labels`): a layer that only bends what is
there leaves little for a loss to decide, and with five classes to learn on any of them may serve
new classes worse than the features did.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ilk.data import Data, Labels
from ilk.maths.gaussian import Matrix, class_means
from ilk.maths.sharpness import sharpness
from ilk.models import Facts, Perceptron, learnable


@dataclass(frozen=True)
class ProtoTriplet(Facts):
    """Nearest mean in an embedding of rectified units; `model.hidden` embeds rows of new classes.

    Attributes:
        triplet: Weight of the Proto-Triplet loss, >= 0.
        icnn: Weight of the ICNN loss, >= 0.
        prototypical: Weight of the prototypical loss, >= 0.
        margin: Of the triplets, in squared distances over the root of `hidden`, > 0.
        hidden: Width of the embedding, >= 1.
        passes: Over the rows, > 0.
        seed: Of weights, batches and tasks.
    """

    triplet: float = 1.0
    icnn: float = 1.0
    prototypical: float = 0.0
    margin: float = 1.0
    hidden: int = 128
    passes: float = 20.0
    seed: int = 0

    def __post_init__(self) -> None:
        weights = (self.triplet, self.icnn, self.prototypical)
        if not all(0 <= w < np.inf for w in weights) or not any(weights):
            raise ValueError(f"weights of losses are {weights}; none is below 0, and not all are 0")
        if self.margin <= 0 or self.hidden < 1 or self.passes <= 0:
            raise ValueError(
                f"margin {self.margin}, hidden {self.hidden} and passes {self.passes} must be > 0"
            )

    def fit(self, data: Data) -> Perceptron:
        from torch import Tensor

        from ilk.training import episodic

        known = learnable(data, self)

        def loss(task: episodic.Task) -> Tensor:
            total = task.rows.new_zeros(())
            if self.triplet:
                total = total + self.triplet * episodic.proto_triplet(task, self.margin)
            if self.icnn:
                total = total + self.icnn * episodic.icnn(task)
            if self.prototypical:
                total = total + self.prototypical * episodic.prototypical(task)
            return total

        net = episodic.embedding(known, loss, self.hidden, self.passes, self.seed)
        return nearest_mean(net.model(), known)


def nearest_mean(model: Perceptron, known: Data) -> Perceptron:
    """`model` with an outer layer that scores by distance to class means of its hidden units."""
    rows, counts = model.hidden(known.x), known.counts()
    means = class_means(rows, known.y, counts)
    scores = rows @ means.T - 0.5 * np.sum(means**2, axis=1)
    t = _sharpness(scores, rows, means, known.y)
    bias = np.where(counts > 0, -0.5 * t * np.sum(means**2, axis=1), -np.inf)
    return replace(model, weight=(t * means).astype(np.float32), bias=bias.astype(np.float32))


def _sharpness(scores: Matrix, rows: Matrix, means: Matrix, y: Labels) -> float:
    """Under which rows, scored without themselves, are likeliest; they were learnt from, though."""
    counts = np.bincount(y, minlength=len(means))
    twice, seen = np.flatnonzero(counts[y] > 1), counts > 0
    if not len(twice) or seen.sum() < 2:
        return 1.0
    n = counts[y, None]
    own = (n * means[y] - rows) / np.maximum(n - 1, 1)
    scores = scores.copy()
    scores[np.arange(len(y)), y] = np.sum(rows * own, axis=1) - 0.5 * np.sum(own**2, axis=1)
    which = np.searchsorted(np.flatnonzero(seen), y[twice])
    return sharpness(scores[twice][:, seen], which, 1e-3, 10.0)
