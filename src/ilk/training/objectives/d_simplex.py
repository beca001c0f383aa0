"""A fixed classifier whose classes are the vertices of a simplex, so that updates stay comparable.

Niccolò Biondi, Federico Pernici, Simone Ricci, Alberto Del Bimbo, 2024, Stationary Representations:
Optimally Approximating Compatibility and Implications for Improved Model Replacements,
arXiv 2405.02581. With f the unit embedding of a row, w_v the e + 1 unit vertices of the regular
simplex in e dimensions, which are never trained, and v(y) the vertex of class y,

    CE  = -log( exp(s f w_v(y)) / sum_v exp(s f w_v) )
    HOC = -log( exp(m f_i g_i) / ( exp(m f_i g_i) + sum_{j: y_j != y_i} exp(m f_i g_j) ) )
    loss = CE                               without old embeddings
    loss = lambda CE + (1 - lambda) HOC     with them; g are those of the previous network, m = 10

Vertices that no class has yet take part in the sum: they keep room for the classes of later
versions, and a class keeps its vertex for ever. Departure: unit embeddings with a scale s.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ilk.core.errors import InputError
from ilk.training.batch import Batch
from ilk.training.metric_objective import MetricObjective, embed, measure_width, read_labels
from ilk.training.objective import TrainingStep
from ilk.training.sources import Source

FEATURE_SCALE = 10.0  # m: of the cosines to the old embeddings
MASKED = -1e9


class DSimplex(MetricObjective):
    """Cross-entropy to fixed vertices, with a term that stays near the old network's embeddings.

    An embedding of e values has room for e + 1 classes.

    Args:
        scale: Scale of the cosines, > 0.
        vertices: Vertex of each class, `[k]`, each its own; None gives class c vertex c.
        old_network: The previous version, which reads the same rows and stays as it is; None for a
            first version.
        class_weight: lambda, the weight of the cross-entropy, in [0, 1], if there is one.

    Attributes:
        corners: The vertices, `[e + 1, e]`.
        vertex_of_class: `[k]` int64.
    """

    TUNED = ("scale", (4.0, 8.0, 16.0, 32.0))

    corners: Tensor
    vertex_of_class: Tensor

    def __init__(
        self,
        scale: float = 4.0,
        vertices: Sequence[int] | None = None,
        old_network: nn.Module | None = None,
        class_weight: float = 0.1,
    ) -> None:
        super().__init__()
        self.scale, self.vertices, self.class_weight = scale, vertices, class_weight
        # A copy: what is trained next must not change it, nor be saved twice.
        self.old_network = (
            None if old_network is None else copy.deepcopy(old_network).requires_grad_(False).eval()
        )

    def train(self, mode: bool = True) -> DSimplex:
        """Set the mode; the old network stays in evaluation mode."""
        super().train(mode)
        if self.old_network is not None:
            self.old_network.eval()
        return self

    def setup(self, network: nn.Module, data: Source) -> None:
        width, k = measure_width(network, data), int(read_labels(data).max()) + 1
        taken = torch.arange(k) if self.vertices is None else torch.tensor(list(self.vertices))
        if len(taken) < k or len(torch.unique(taken)) < len(taken) or int(taken.max()) > width:
            raise InputError(
                f"{k} classes need vertices of their own, at most number {width}: an embedding of "
                f"{width} values has room for {width + 1} classes; make it wider"
            )
        device = next(network.parameters()).device
        self.register_buffer("corners", make_simplex(width).to(device))
        self.register_buffer("vertex_of_class", taken.to(device))

    def forward(self, network: nn.Module, batch: Batch, step: TrainingStep) -> Tensor:
        known = batch.y >= 0
        x, y = batch.x[known], batch.y[known]
        z = embed(network, x)
        loss = self.compute_loss(z, y, step)
        if self.old_network is None:
            return loss
        with torch.no_grad():
            old = embed(self.old_network, x)
        near = contrast_with_old(z, old, y).mean()
        return self.class_weight * loss + (1 - self.class_weight) * near

    def compute_loss(self, z: Tensor, y: Tensor, step: TrainingStep) -> Tensor:
        """Return the cross-entropy of unit embeddings `[b, e]` of classes `y [b]`, a scalar."""
        logits = self.scale * z @ self.corners.T
        return functional.cross_entropy(logits, self.vertex_of_class[y])


def make_simplex(width: int) -> Tensor:
    """Return the `width + 1` unit vertices of a regular simplex around 0, `[width + 1, width]`.

    They are the unit vectors and a multiple of (1, ..., 1) that is as far from them as they are
    from each other, moved and scaled. Every two have the cosine `-1 / width`.
    """
    last = torch.full((1, width), (1 - (width + 1) ** 0.5) / width, dtype=torch.float64)
    corners = torch.cat([torch.eye(width, dtype=torch.float64), last])
    return functional.normalize(corners - corners.mean(0)).float()


def contrast_with_old(f: Tensor, old: Tensor, y: Tensor) -> Tensor:
    """Return the contrastive loss of each row against the old embeddings of the batch, `[n]`.

    Args:
        f: Unit embeddings, `[n, e]`.
        old: Unit embeddings of the same rows by the previous network, `[n, e]`.
        y: Classes, `[n]`: other rows of a row's own class are left out.
    """
    same_class = (y[:, None] == y) & ~torch.eye(len(y), dtype=torch.bool, device=y.device)
    scores = (FEATURE_SCALE * f @ old.T).masked_fill(same_class, MASKED)
    rows = torch.arange(len(y), device=y.device)
    return functional.cross_entropy(scores, rows, reduction="none")
