"""DistillWeighted: source models teach a student of another task, each as much as it is similar.

Kenneth Borup, Cheng Perng Phoo, Bharath Hariharan, 2023, Distilling from Similar Tasks for Transfer
Learning on a Budget, arXiv 2304.12314. With z the student's logits of the target's classes, u_s
those of an extra head for the classes of source model s, and t_s that source's own:

    L = lambda CE(z, y) over labelled rows
        + (1 - lambda) mean_i sum_s alpha_s KL( softmax(t_si / T) || softmax(u_si / T) ) T^2
    alpha_s = max(0, similarity_s)^p / sum of the same over the sources

`similarity` is that of source and target, such as PARC (`ilk.ranking.parc`) of the source's
features of the labelled rows. p = 0 is uniform; p = inf is DistillNearest, the most similar source
alone. The extra heads are thrown away.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from ilk.core.errors import InputError
from ilk.training.batch import Batch
from ilk.training.losses import labelled_cross_entropy, row_divergences, weighted_mean
from ilk.training.objective import TrainingStep
from ilk.training.sources import Source
from ilk.training.student_features import RowStudent, compute_features, find_head, make_linear
from ilk.training.teacher_objective import TeacherObjective

POWER = 4.0


class SimilarSources(TeacherObjective):
    """Few labels in the student's head, and source models in extra heads on all rows.

    Args:
        teacher_logits: As for `TeacherObjective`, or one of `[n, k_s]` for each source.
        weights: alpha of each source, >= 0; scaled to a sum of 1. None weights them equally.
        label_weight: lambda, in [0, 1].
        temperature: T, > 0.
        seed: Seed of the extra heads' weights.
        power: p, >= 0, from which the weights are computed unless they are given.
        similarities: Of source and target, one for each source; None weights sources equally.
    """

    takes_sources: ClassVar[bool] = True

    heads: nn.ModuleList

    def __init__(
        self,
        teacher_logits: Tensor | Sequence[Tensor] | None = None,
        weights: Sequence[float] | None = None,
        label_weight: float = 0.5,
        temperature: float = 1.0,
        seed: int = 0,
        power: float = POWER,
        similarities: Sequence[float] | None = None,
    ) -> None:
        if not 0 <= label_weight <= 1 or not temperature > 0 or not power >= 0:
            raise InputError(
                f"label_weight {label_weight} must be from 0 to 1, temperature {temperature} above "
                f"0, power {power} at least 0"
            )
        sources = [teacher_logits] if isinstance(teacher_logits, Tensor) else teacher_logits
        if sources is not None and not sources:
            raise InputError("there is no source model; give at least one")
        super().__init__(None if sources is None else torch.cat(list(sources), 1))
        self.sizes = None if sources is None else [source.shape[1] for source in sources]
        count = len(weights or (1.0,)) if sources is None else len(sources)
        if weights is None and similarities is not None:
            weights = weight_sources(similarities, power)
        self.weights = _scale([1.0] * count if weights is None else weights, count)
        self.label_weight, self.temperature, self.seed = label_weight, temperature, seed

    def setup(self, network: nn.Module, data: Source) -> None:
        super().setup(network, data)
        head = find_head(network)
        self.sizes = self.sizes or [self.teacher_logits.shape[1]]
        self.heads = nn.ModuleList(
            make_linear(head.in_features, size, head.weight, self.seed + s)
            for s, size in enumerate(self.sizes)
        )

    def forward(self, network: nn.Module, batch: Batch, step: TrainingStep) -> Tensor:
        features, logits = compute_features(network, batch.x)
        loss = (1 - self.label_weight) * weighted_mean(
            self.compute_divergences(features, self.find_teacher_logits(batch)), batch.weight
        )
        label_loss = labelled_cross_entropy(logits.float(), batch.y, batch.weight)
        return loss + self.label_weight * label_loss

    def compute_divergences(self, features: Tensor, teacher_logits: Tensor) -> Tensor:
        """Return the weighted divergence of the extra heads from their sources, `[n]`.

        Args:
            features: `[n, f]`.
            teacher_logits: Of all sources, one after the other, `[n, sum of k_s]`.
        """
        total = features.new_zeros(len(features))
        parts = torch.split(teacher_logits, list(self.sizes or ()), 1)
        for weight, head, teacher in zip(self.weights, self.heads, parts, strict=True):
            if weight:
                student = head(features).float() / self.temperature
                total = total + weight * row_divergences(teacher / self.temperature, student)
        return self.temperature**2 * total

    @classmethod
    def make_network(cls, d: int, k: int) -> nn.Module:
        return RowStudent(d, 8, k)


def weight_sources(similarities: Sequence[float], power: float = POWER) -> list[float]:
    """Return alpha of each source, which sum to 1.

    Args:
        similarities: Of source and target; those below 0 count as 0, and all are equal where none
            is above 0.
        power: p, >= 0; infinity takes the most similar source alone.

    Raises:
        InputError: There is no source, a similarity is not finite, or `power` is out of its range.
    """
    if not similarities or not all(map(math.isfinite, similarities)) or not power >= 0:
        raise InputError(
            f"similarities {list(similarities)} must be finite, one at least, and power {power} at "
            "least 0"
        )
    highest = max(similarities)
    if highest <= 0:
        return _scale([1.0] * len(similarities), len(similarities))
    if math.isinf(power):
        nearest = list(similarities).index(highest)
        return [float(s == nearest) for s in range(len(similarities))]
    return _scale([(max(s, 0.0) / highest) ** power for s in similarities], len(similarities))


def _scale(weights: Sequence[float], count: int) -> list[float]:
    total = math.fsum(weights)
    if len(weights) != count or min(weights) < 0 or not 0 < total < math.inf:
        raise InputError(
            f"weights {list(weights)} must be one for each of {count} source models, at least 0, "
            "and not all 0"
        )
    return [weight / total for weight in weights]
