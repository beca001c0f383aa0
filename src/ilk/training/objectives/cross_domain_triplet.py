"""Triplets of sketches and photos, some of them generated: weights, and a teacher of true pairs.

Ayan Kumar Bhunia and others, 2021, More Photos are All You Need: Semi-Supervised Learning for
Fine-Grained Sketch Based Image Retrieval, arXiv 2103.13990. A pair counts by its weight w_i, for a
generated sketch how real a discriminator finds it; q are unit vectors of sketches, g of photos:

    L = sum_i w_i ( mean_{j active} [ |q_i - g_i|^2 - |q_i - g_j|^2 + m ]+
                    + c KL( softmax_j(t_ij / T) || softmax_j(q_i g_j / T) ) ) / sum_i w_i

with t_ij the cosines of a fixed teacher. The paper distils distances of triplets, and rewards its
generator, which draws strokes, by both networks; here the generator is trained by itself.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ilk.architectures.cross_domain_towers import CrossDomainTowers
from ilk.training.batch import Batch
from ilk.training.losses import row_divergences, weighted_mean
from ilk.training.objective import Objective, TrainingStep, unwrap


class CrossDomainTriplet(Objective):
    """The loss of pairs `batch.x` of `CrossDomainTowers`; equal labels are never negatives.

    Args:
        margin: m, in squared distances of unit vectors, > 0.
        teacher: Towers trained on true pairs, which stay as they are; None distils nothing.
        distillation: Weight c of the teacher, >= 0.
        temperature: T, > 0.
    """

    def __init__(
        self,
        margin: float = 0.2,
        teacher: CrossDomainTowers | None = None,
        distillation: float = 1.0,
        temperature: float = 0.1,
    ) -> None:
        super().__init__()
        self.margin, self.distillation, self.temperature = margin, distillation, temperature
        self.teacher = None if teacher is None else teacher.requires_grad_(False)

    def forward(self, network: nn.Module, batch: Batch, step: TrainingStep) -> Tensor:
        queries, gallery = unwrap(network, CrossDomainTowers)(batch.x)
        cosines = queries @ gallery.T
        losses = triplet_losses(cosines, batch.y, self.margin)
        if self.teacher is not None and self.distillation:
            with torch.no_grad():
                known_queries, known_gallery = self.teacher(batch.x)
                known = known_queries @ known_gallery.T
            kl = row_divergences(known / self.temperature, cosines / self.temperature)
            losses = losses + self.distillation * kl
        return weighted_mean(losses, batch.weight)

    @classmethod
    def make_network(cls, d: int, k: int) -> nn.Module:
        return CrossDomainTowers.make_example(d, k)


def triplet_losses(cosines: Tensor, y: Tensor, margin: float) -> Tensor:
    """Return the mean over active triplets of each query, `[n]`; 0 where none is active.

    Args:
        cosines: Of queries with the gallery, `[n, n]`; own items are on the diagonal.
        y: Labels, `[n]`.
        margin: In squared distances, which are `2 - 2 cosine`.
    """
    gap = 2 * (cosines - cosines.diagonal()[:, None]) + margin
    terms = functional.relu(gap).masked_fill(y[:, None] == y, 0)
    return terms.sum(1) / (terms > 0).sum(1).clamp(min=1)
