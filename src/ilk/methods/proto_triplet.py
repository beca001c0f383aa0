"""Few-shot embedding: hidden units trained on other classes by losses that separate prototypes.

Mauricio Mendez-Ruiz, Jorge Gonzalez-Zapata, Ivan Reyes-Amezcua, Daniel Flores-Araiza, Francisco
Lopez-Tiro, Andres Mendez-Vazquez, Gilberto Ochoa-Ruiz, 2023, SuSana Distancia is all you need,
arXiv 2305.09062. A batch is split into an episode: half of each class's rows are averaged to a
prototype c, the others are queries q. With d the squared distance of embedded rows,

    Proto-Triplet   mean over classes k, q of k, q' of others:  [d(c_k, q) - d(c_k, q') + margin]+
    ICNN            -log mean over rows (1 - intra) inter purity

of mean distances to the nearest rows of the same class and of others (relative to the largest
distance), and of the fraction of the same class among the nearest rows. Departures: the embedding
is the frozen features plus what one hidden layer adds to them, 0 at the start, not a network on
pixels; the added part is scaled by the factor in [0, 1] that serves held-out classes best where new
classes are embedded, and held-out rows best where the training classes are predicted, so that
training loses little of what the features have (`ilk.training.embeddings`); the mean is over
triplets of positive loss; the scaling inside ICNN is a choice of this implementation; and both
losses may be combined with the prototypical loss. Predictions are those of the nearest mean in the
embedding.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ilk.core.contracts import MethodTags, labelled_features
from ilk.core.data import Data, Labels
from ilk.core.residual_mlp import ResidualMLP
from ilk.maths.gaussian import Matrix, compute_class_means
from ilk.maths.inverse_temperature import fit_inverse_temperature
from ilk.maths.leave_group_out import (
    find_groups,
    find_rows_with_other_groups,
    score_without_group,
)


@dataclass(frozen=True)
class ProtoTriplet(MethodTags):
    """Nearest mean in an embedding; `model.compute_hidden` embeds rows of new classes.

    Attributes:
        triplet: Weight of the Proto-Triplet loss, >= 0.
        icnn: Weight of the ICNN loss, >= 0.
        prototypical: Weight of the prototypical loss, >= 0.
        margin: Margin of the triplets, in squared distances over the root of the embedding's width
            (their mean is 4 at the start), > 0.
        hidden: Hidden units of what is added to the features, >= 1.
        epochs: Passes over the labelled rows, > 0.
        seed: Seed of weights, batches and episodes.
        strength: Factor of what is added to the features, in [0, 1]; None chooses one on held-out
            classes for new classes, and one on held-out rows for the training classes, which takes
            about three times as long.
    """

    triplet: float = 1.0
    icnn: float = 1.0
    prototypical: float = 0.0
    margin: float = 1.0
    hidden: int = 128
    epochs: float = 20.0
    seed: int = 0
    strength: float | None = None

    def __post_init__(self) -> None:
        weights = (self.triplet, self.icnn, self.prototypical)
        if not all(0 <= w < np.inf for w in weights) or not any(weights):
            raise ValueError(f"weights of losses are {weights}; none is below 0, and not all are 0")
        if self.margin <= 0 or self.hidden < 1 or self.epochs <= 0:
            raise ValueError(
                f"margin {self.margin}, hidden {self.hidden} and epochs {self.epochs} must be > 0"
            )
        if self.strength is not None and not 0 <= self.strength <= 1:
            raise ValueError(f"strength is {self.strength}; it must lie between 0 and 1")

    def fit(self, data: Data) -> ResidualMLP:
        from ilk.training.embeddings import (
            select_own_strength,
            select_strength,
            train_embedding,
        )
        from ilk.training.episodes import EpisodicSum
        from ilk.training.objectives.icnn import ICNN
        from ilk.training.objectives.proto_triplet import ProtoTripletLoss
        from ilk.training.objectives.prototypical import Prototypical

        known = labelled_features(data, self)
        objective = EpisodicSum(
            (self.triplet, ProtoTripletLoss(self.margin)),
            (self.icnn, ICNN()),
            (self.prototypical, Prototypical()),
        )
        settings = (known, objective, self.hidden, self.epochs, self.seed)
        new, own = (
            select(*settings) if self.strength is None else self.strength
            for select in (select_strength, select_own_strength)
        )
        model = train_embedding(*settings).to_model()
        return fit_nearest_mean(replace(model, strength=new, own_strength=own), known)


def fit_nearest_mean(model: ResidualMLP, known: Data) -> ResidualMLP:
    """Return `model` with an output layer that scores by distance to class means, `[k, d]`."""
    rows, counts = model.embed(known.x, model.own_strength), known.count_labels()
    means = compute_class_means(rows, known.y, counts)
    scores = rows @ means.T - 0.5 * np.sum(means**2, axis=1)
    if (group := find_groups(known)) is None:
        inverse_temperature = _estimate_inverse_temperature(scores, rows, means, known.y)
    else:
        inverse_temperature = _estimate_by_groups(rows, means, known.y, group)
    bias = np.where(counts > 0, -0.5 * inverse_temperature * np.sum(means**2, axis=1), -np.inf)
    return replace(
        model, weight=(inverse_temperature * means).astype(np.float32), bias=bias.astype(np.float32)
    )


def _estimate_by_groups(rows: Matrix, means: Matrix, y: Labels, group: Labels) -> float:
    """The inverse temperature that fits the rows best, each scored without its group `[n]`."""
    counts = np.bincount(y, minlength=len(means))
    scored, present = find_rows_with_other_groups(y, group), counts > 0
    if not len(scored) or present.sum() < 2:
        return 1.0
    scores = score_without_group(np.asarray(rows, np.float64), y, group, means, counts)[scored]
    targets = np.searchsorted(np.flatnonzero(present), y[scored])
    return fit_inverse_temperature(scores[:, present], targets, 1e-3, 10.0)


def _estimate_inverse_temperature(scores: Matrix, rows: Matrix, means: Matrix, y: Labels) -> float:
    """The inverse temperature that fits the rows best, each scored without itself."""
    counts = np.bincount(y, minlength=len(means))
    repeated_rows, present = np.flatnonzero(counts[y] > 1), counts > 0
    if not len(repeated_rows) or present.sum() < 2:
        return 1.0
    n = counts[y, None]
    own_means = (n * means[y] - rows) / np.maximum(n - 1, 1)
    scores = scores.copy()
    scores[np.arange(len(y)), y] = np.sum(rows * own_means, axis=1) - 0.5 * np.sum(
        own_means**2, axis=1
    )
    targets = np.searchsorted(np.flatnonzero(present), y[repeated_rows])
    return fit_inverse_temperature(scores[repeated_rows][:, present], targets, 1e-3, 10.0)
