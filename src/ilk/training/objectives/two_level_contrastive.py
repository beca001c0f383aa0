"""Subclass-balancing contrastive loss: rows attract their subclass, then their class.

Chengkai Hou, Jieyu Zhang, Haonan Wang, Tianyi Zhou, 2023, Subclass-balancing Contrastive Learning
for Long-tailed Recognition, arXiv 2306.15925. Every row has two views; with unit hidden vectors z,
v the other view of the anchor i, S the views of the anchor's subclass (v among them), Y those of
its class, A all others (i itself is in none of them):

    L = - t / t_0 mean_{p in S} log( e(z_i z_p / t) / sum_{a in A} e(z_i z_a / t) )
        - beta mean_{p in Y - S + v} log( e(z_i z_p / t_c) / sum_{a in A - S + v} e(z_i z_a / t_c) )
    t_c = t exp( f_c / mean f ),  f_c = mean |z - mean_c| / log(n_c + 10)

The factor t / t_0 and v in the second sum are as in the authors' code. Subclasses of equal size
come from k-means on z, repeated every few updates.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ilk.architectures.head import Head
from ilk.core.data import Labels
from ilk.core.errors import InputError
from ilk.maths.balanced_kmeans import split_subclasses
from ilk.training.batch import Batch
from ilk.training.objective import Objective, TrainingStep, unwrap
from ilk.training.rng import load_numpy_state, save_numpy_state
from ilk.training.sources import Source

FEATURE_DROPOUT = 0.2  # fraction of the features set to 0 in a view
BETA = 0.2
BASE_TEMPERATURE = 0.07  # t_0


class TwoLevelContrastive(Objective):
    """The loss over two views of each labelled row; the network is a `Head`.

    Args:
        min_subclass_size: Smallest size of a subclass, >= 1; larger than every class leaves classes
            whole, which is supervised contrastive learning.
        use_clusters: Subclasses are clusters; otherwise random rows, of the same sizes.
        cluster_every: Updates between clusterings, >= 1.
        temperature: Temperature of the cosines, > 0.
        seed: Seed of the clustering.
        beta: Weight of the second level, >= 0.

    Attributes:
        subclass: Subclass of each row, `[n]` int64; -1 before the first clustering.
        temperature_ratio: t_c / t of each class, `[k]`.
        rng_state: State of the random numbers of the clustering.
    """

    supports_weights = False

    subclass: Tensor
    temperature_ratio: Tensor
    rng_state: Tensor

    def __init__(
        self,
        min_subclass_size: int = 10,
        use_clusters: bool = True,
        cluster_every: int = 50,
        temperature: float = 0.1,
        seed: int = 0,
        beta: float = BETA,
    ) -> None:
        super().__init__()
        self.beta = beta
        self.min_subclass_size, self.use_clusters = min_subclass_size, use_clusters
        self.cluster_every, self.temperature, self.seed = cluster_every, temperature, seed

    def setup(self, network: nn.Module, data: Source) -> None:
        if not isinstance(data, Batch):
            raise InputError("TwoLevelContrastive clusters all rows; give it a Batch in memory")
        self.features, self.y = data.x, data.y.numpy()
        n, k = len(data), int(data.y.max()) + 1
        rng = np.random.default_rng(self.seed)
        self.register_buffer("subclass", torch.full((n,), -1))
        self.register_buffer("temperature_ratio", torch.ones(k))
        self.register_buffer("rng_state", save_numpy_state(rng))

    @torch.no_grad()
    def before_step(self, network: nn.Module, step: TrainingStep) -> None:
        if step.index % self.cluster_every == 0:
            self.cluster(unwrap(network, Head))

    def forward(self, network: nn.Module, batch: Batch, step: TrainingStep) -> Tensor:
        if batch.indices is None:
            raise ValueError("TwoLevelContrastive finds a row's subclass by `batch.indices`")
        x = torch.cat([batch.x, batch.x])
        mask = torch.rand(x.shape, generator=step.generator, device=x.device) >= FEATURE_DROPOUT
        hidden = unwrap(network, Head).compute_hidden(x * mask / (1 - FEATURE_DROPOUT))
        return two_level_loss(
            functional.normalize(hidden),
            batch.y,
            self.subclass[batch.indices],
            self.temperature,
            self.temperature * self.temperature_ratio[batch.y],
            self.beta,
        )

    @torch.no_grad()
    def cluster(self, head: Head) -> None:
        """Assign rows to subclasses anew, by the hidden units of `head`."""
        device = self.subclass.device
        z = functional.normalize(head.compute_hidden(self.features.to(device)))
        rows, rng = z.double().cpu().numpy(), load_numpy_state(self.rng_state)
        previous = self.subclass.cpu().numpy()
        if (previous < 0).all():
            previous = previous[:0]
        subclass = split_subclasses(rows, self.y, self.min_subclass_size, previous, rng)
        if not self.use_clusters:
            for c in np.unique(self.y):
                members = self.y == c
                subclass[members] = rng.permutation(subclass[members])
        self.subclass.copy_(torch.from_numpy(subclass))
        ratio = _compute_temperature_ratio(rows, self.y).astype(np.float32)
        self.temperature_ratio.copy_(torch.from_numpy(ratio))
        self.rng_state.copy_(save_numpy_state(rng))


def two_level_loss(
    z: Tensor,
    y: Tensor,
    subclass: Tensor,
    temperature: float,
    class_temperature: Tensor,
    beta: float = BETA,
) -> Tensor:
    """Return the loss of two views of each row, a scalar.

    Args:
        z: Unit vectors: the first views of the rows, then the second ones, `[2 n, h]`.
        y: Class of each row, `[n]`.
        subclass: Subclass of each row, `[n]`.
        temperature: Temperature of the first level.
        class_temperature: Temperature of the second level for each row, `[n]`.
        beta: Weight of the second level.
    """
    row = torch.arange(len(y), device=z.device)
    is_view = (row[:, None] == row).repeat(2, 2)
    is_self = torch.eye(len(z), dtype=torch.bool, device=z.device)
    same_subclass = (subclass[:, None] == subclass).repeat(2, 2)
    same_class = (y[:, None] == y).repeat(2, 2)
    cosines = z @ z.T
    loss = _contrastive_loss(cosines / temperature, same_subclass & ~is_self, ~is_self)
    loss = temperature / BASE_TEMPERATURE * loss
    if beta:
        is_candidate = (~same_subclass | is_view) & ~is_self
        scores = cosines / class_temperature.repeat(2)[:, None]
        loss = loss + beta * _contrastive_loss(scores, same_class & is_candidate, is_candidate)
    return loss / len(z)


def _contrastive_loss(scores: Tensor, is_positive: Tensor, is_candidate: Tensor) -> Tensor:
    """Sum over rows of minus the mean log-probability of their positives among candidates."""
    log_proba = scores - scores.masked_fill(~is_candidate, -1e9).logsumexp(1, keepdim=True)
    return -((log_proba * is_positive).sum(1) / is_positive.sum(1)).sum()


def _compute_temperature_ratio(z: NDArray[np.float64], y: Labels) -> NDArray[np.float64]:
    """The ratio t_c / t of each class, `[k]`, from unit vectors `z [n, h]` of classes `y [n]`."""
    spread = np.zeros(int(y.max()) + 1)
    for c in np.unique(y):
        class_rows = z[y == c]
        spread[c] = np.linalg.norm(class_rows - class_rows.mean(0), axis=1).mean() / np.log(
            len(class_rows) + 10
        )
    mean = spread[np.unique(y)].mean()
    return np.exp(spread / mean) if mean > 0 else np.ones(len(spread))
