"""A weighted mean of the calibrated log probabilities of several methods.

Rich Caruana, Alexandru Niculescu-Mizil, Geoff Crew, Alex Ksikes, 2004, Ensemble Selection from
Libraries of Models, doi:10.1145/1015330.1015432. `ilk.fitting.ensemble_selection` chooses the
members and their weights;

    log p(c | x) = sum_m w_m log p_m(c | x) + constant
    p_m = (1 - u_m) softmax(z_m / T_m) + u_m / k

with z_m the logits of member m and T_m, u_m its calibration, because logits of different methods
have different scales. The mean of log probabilities (a logarithmic opinion pool: Geoffrey E.
Hinton, 2002, doi:10.1162/089976602760128018) has a lower log loss than that of probabilities where
the members see the same features, because it does not blunt what all of them are sure of.

A member sees its own columns of the features: those of one encoder, or those of several side by
side, each block divided by its total standard deviation, so that no encoder outweighs another by
its units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ilk.core.contracts import Method, MethodTags, Model
from ilk.core.data import Data, Features, Labels, Logits
from ilk.core.metrics import Probabilities, softmax
from ilk.core.part_bounds import FRACTION, NON_NEGATIVE, POSITIVE, Bounds


@dataclass(frozen=True)
class Member:
    """A method with its columns, weight and calibration.

    Attributes:
        method: The method.
        columns: First column and the one after the last, of each encoder whose features it sees.
        weight: Weight of its log probabilities, at least 0; the weights of an ensemble sum to 1. A
            member of weight 0 is a spare, for when an encoder that the others need is gone.
        temperature: Temperature that calibrates its logits, > 0.
        uniform_weight: Weight of the uniform distribution in its probabilities, in [0, 1].
    """

    method: Any
    columns: tuple[tuple[int, int], ...]
    weight: float = 1.0
    temperature: float = 1.0
    uniform_weight: float = 0.0

    def fit(self, data: Data) -> MemberModel:
        """Fit the method to its columns of features `[n, d]`."""
        columns = np.array(self.columns, np.int64).reshape(-1, 2)
        scale = _compute_scales(data.x, columns)
        method: Method = self.method
        x, text = _take_columns(data.x, columns, scale), data.class_embeddings
        if text is not None and text.shape[1] != x.shape[1]:  # of another encoder
            data = replace(data, class_embeddings=None, description_embeddings=None)
        model = method.fit(replace(data, x=x))
        return MemberModel(
            model, columns, scale, self.weight, self.temperature, self.uniform_weight
        )


@dataclass(frozen=True)
class Ensemble(MethodTags):
    """Several methods, each on its own columns of the features.

    Attributes:
        members: The methods, at least one.
    """

    members: tuple[Member, ...]

    @property
    def description(self) -> str:
        """Its short name in the leaderboard, such as `Ensemble of 3`."""
        if (n := sum(member.weight > 0 for member in self.members)) > 1:
            return f"Ensemble of {n}"
        return f"{type(self.members[0].method).__name__} side by side"

    def fit(self, data: Data) -> EnsembleModel:
        """Fit each member to its columns of features `[n, d]`."""
        return EnsembleModel(tuple(member.fit(data) for member in self.members))


@dataclass(frozen=True, eq=False)
class MemberModel:
    """A fitted member of an ensemble.

    Attributes:
        model: Model of the columns.
        columns: First column and the one after the last of each block, `[b, 2]` int64.
        scale: What each block is divided by, `[b]` float64.
        weight: Weight of its log probabilities, at least 0.
        temperature: Temperature of its logits, > 0.
        uniform_weight: Weight of the uniform distribution, in [0, 1].
    """

    kind: ClassVar[str] = "ensemble_member"
    shapes: ClassVar[dict[str, str]] = {"columns": "b 2", "scale": "b"}
    bounds: ClassVar[dict[str, Bounds]] = {
        "columns": NON_NEGATIVE,
        "scale": POSITIVE,
        "weight": NON_NEGATIVE,
        "temperature": POSITIVE,
        "uniform_weight": FRACTION,
    }

    model: Model
    columns: Labels
    scale: NDArray[np.float64]
    weight: float
    temperature: float
    uniform_weight: float

    def logits(self, x: Features) -> Logits:
        """Return the logits `[n, k]` of features `[n, d]` of the whole ensemble."""
        return self.model.logits(_take_columns(x, self.columns, self.scale))

    def to_probabilities(self, x: Features) -> Probabilities:
        """Return the calibrated probabilities `[n, k]` of features `[n, d]` of the ensemble."""
        z = np.asarray(self.logits(x), np.float64)
        is_possible = np.isfinite(z)
        uniform = is_possible / is_possible.sum(1, keepdims=True)
        confident = softmax(z / self.temperature, 1)
        return np.asarray((1 - self.uniform_weight) * confident + self.uniform_weight * uniform)


@dataclass(frozen=True, eq=False)
class EnsembleModel:
    """Fitted members.

    Attributes:
        members: The members, at least one.
    """

    kind: ClassVar[str] = "ensemble"

    members: tuple[MemberModel, ...]

    def logits(self, x: Features) -> Logits:
        """Return the mean log probabilities `[n, k]`; `-inf` for a class without training rows."""
        members = [member for member in self.members if member.weight > 0]
        probabilities = [member.to_probabilities(x) for member in members]
        return pool_log_probabilities(probabilities, [member.weight for member in members])

    def drop_columns(self, first: int, last: int) -> EnsembleModel:
        """Return the members that read none of the columns from `first` to before `last`.

        If all of these are spares, the first one takes the place of the ensemble.
        """
        members = []
        for member in self.members:
            starts, ends = member.columns[:, 0], member.columns[:, 1]
            if not np.any((starts < last) & (ends > first)):
                shift = (last - first) * (starts >= last)
                members.append(replace(member, columns=member.columns - shift[:, None]))
        if not any(member.weight for member in members):
            members = [replace(members[0], weight=1.0)]
        return EnsembleModel(tuple(members))


def pool_log_probabilities(
    probabilities: Sequence[NDArray[np.floating]], weights: Sequence[NDArray[np.floating] | float]
) -> NDArray[np.float64]:
    """Return the weighted mean of log probabilities, `[n, k]` float64.

    Args:
        probabilities: Probabilities of each member, `[n, k]`; 0 makes a class impossible.
        weights: Weight of each member, for all rows or for each, `[n]`; at least 0, with a positive
            sum.
    """
    shape = np.shape(probabilities[0])
    mean, total = np.zeros(shape), np.zeros((shape[0], 1))
    for p, weight in zip(probabilities, weights, strict=True):
        w = np.broadcast_to(np.asarray(weight, np.float64), shape[:1])[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            mean += np.where(w > 0, w * np.log(p), 0.0)
        total += w
    return np.asarray(mean / total)


def _take_columns(
    x: NDArray[Any], columns: Labels, scale: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Return columns of rows `[n, d]`; several blocks are divided by their scale, one is not."""
    if len(columns) == 1:
        first, last = (int(column) for column in columns[0])
        return x if (first, last) == (0, x.shape[1]) else np.ascontiguousarray(x[:, first:last])
    blocks = [
        x[:, first:last] / np.float32(s) for (first, last), s in zip(columns, scale, strict=True)
    ]
    return np.hstack(blocks)


def _compute_scales(x: NDArray[Any], columns: Labels) -> NDArray[np.float64]:
    """Return the root of the total variance of each block of columns, `[b]`; 1 for one block."""
    if len(columns) == 1:
        return np.ones(1)
    variance = [float(np.var(x[:, first:last], axis=0).sum()) for first, last in columns]
    return np.sqrt([v or 1.0 for v in variance])
