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

import torch
from torch import Tensor, nn
from torch.nn import functional

from ilk.core.errors import InputError
from ilk.training.batch import Batch
from ilk.training.losses import weighted_mean
from ilk.training.objective import Objective, TrainingStep
from ilk.training.sources import Source

FEATURE_SCALE = 10.0  # m: of the cosines to the old embeddings
MASKED = -1e9


class DSimplex(Objective):
    """Cross-entropy to fixed vertices, with a term that stays near the old network's embeddings.

    The network gives embeddings `[n, e]`; e + 1 classes are possible.

    Args:
        scale: Scale of the cosines, > 0.
        vertex_of_class: Vertex of each class, `[k]` int64; None gives class c vertex c.
        old_embeddings: Embeddings of the training set by the previous network, `[n, e]`; None has
            no previous network.
        class_weight: lambda, the weight of the cross-entropy, in [0, 1], if there are old ones.

    Attributes:
        vertices: `[e + 1, e]`.
    """

    vertices: Tensor
    vertex_of_class: Tensor
    old_embeddings: Tensor

    def __init__(
        self,
        scale: float = 16.0,
        vertex_of_class: Tensor | None = None,
        old_embeddings: Tensor | None = None,
        class_weight: float = 0.1,
    ) -> None:
        super().__init__()
        self.scale, self.class_weight = scale, class_weight
        self.given_vertices = vertex_of_class
        self.has_old = old_embeddings is not None
        if old_embeddings is not None:
            self.register_buffer("old_embeddings", functional.normalize(old_embeddings))

    def setup(self, network: nn.Module, data: Source) -> None:
        device = next((str(p.device) for p in network.parameters()), "cpu")
        with torch.no_grad():
            batch = data.take(torch.arange(min(2, len(data))), device)
            width = network(batch.x).shape[1]
        self.register_buffer("vertices", make_simplex(width))
        taken = self.given_vertices
        if taken is None:
            taken = torch.arange(len(self.vertices))
        if len(torch.unique(taken)) < len(taken) or int(taken.max()) >= len(self.vertices):
            raise InputError(
                f"classes need vertices of their own, 0 to {width}: an embedding of {width} values "
                f"has room for {width + 1} classes; make it wider"
            )
        self.register_buffer("vertex_of_class", taken)

    def forward(self, network: nn.Module, batch: Batch, step: TrainingStep) -> Tensor:
        f = functional.normalize(network(batch.x))
        if int(batch.y.max()) >= len(self.vertex_of_class):
            raise InputError(
                f"class {int(batch.y.max())} has no vertex: an embedding of {f.shape[1]} values "
                f"has room for {f.shape[1] + 1} classes; make it wider"
            )
        logits = self.scale * f @ self.vertices.T
        losses = functional.cross_entropy(logits, self.vertex_of_class[batch.y], reduction="none")
        if self.has_old:
            if batch.indices is None:
                raise ValueError("DSimplex finds a row's old embedding by `batch.indices`")
            old = contrast_with_old(f, self.old_embeddings[batch.indices], batch.y)
            losses = self.class_weight * losses + (1 - self.class_weight) * old
        return weighted_mean(losses, batch.weight)


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
