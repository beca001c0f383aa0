"""Diffusion over candidates: a head learns to recover the one right item from noise.

Peng Jin and others, 2023, DiffusionRet: Generative Text-Video Retrieval with Diffusion Model,
arXiv 2303.09867 (the generation loss, with features that are not trained further):

    L = - log softmax( f(x_t; query, items, t) )_true,   x_t = sqrt(s_t) onehot + sqrt(1 - s_t) eps

with t uniform in [0, 1] and s_t the cosine schedule. Candidates of a row are its own item and the
most similar others of the batch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ilk.architectures.candidate_denoiser import CandidateDenoiser, add_noise
from ilk.training.batch import Batch
from ilk.training.losses import weighted_mean
from ilk.training.objective import Objective, TrainingStep, unwrap


class CandidateDiffusion(Objective):
    """The loss of a `CandidateDenoiser`.

    Rows of `batch.x [b, 2 e]` are the embedding of a query and that of its item; rows with the same
    `batch.y` are never each other's negatives.

    Args:
        count: Candidates per query, its own item included, >= 2; fewer where the batch has fewer.
    """

    def __init__(self, count: int = 32) -> None:
        super().__init__()
        self.count = count

    def forward(self, network: nn.Module, batch: Batch, step: TrainingStep) -> Tensor:
        denoiser = unwrap(network, CandidateDenoiser)
        query, item = batch.x.chunk(2, dim=1)
        chosen, is_missing = choose_candidates(query, item, batch.y, self.count)
        clean = torch.zeros(chosen.shape, device=query.device)
        clean[:, 0] = 1
        draws, device = step.generator, query.device
        level = torch.rand(len(query), generator=draws, device=device)
        noise = torch.randn(chosen.shape, generator=draws, device=device)
        noisy = add_noise(clean, level, noise)
        logits = denoiser(query, item[chosen], noisy, level, is_missing)
        target = torch.zeros(len(query), dtype=torch.int64, device=query.device)
        losses = functional.cross_entropy(logits, target, reduction="none")
        return weighted_mean(losses, batch.weight)

    @classmethod
    def make_network(cls, d: int, k: int) -> nn.Module:
        return CandidateDenoiser.make_example(d, k)


def choose_candidates(query: Tensor, item: Tensor, y: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the candidates of each query: its own item first, then the most similar others.

    Args:
        query, item: Embeddings of pairs, `[b, e]` each.
        y: What a pair shows, `[b]`: others that show the same are left out.
        count: Candidates per query.

    Returns:
        Rows of `item`, `[b, n]` with n the smaller of count and b, and which of them are to be
        ignored because others are missing, `[b, n]` bool.
    """
    cosines = functional.normalize(query, dim=1) @ functional.normalize(item, dim=1).T
    is_self = torch.eye(len(y), dtype=torch.bool, device=y.device)
    is_same = (y[:, None] == y) & ~is_self
    ranked = cosines.masked_fill(is_same, -torch.inf).masked_fill(is_self, torch.inf)
    values, chosen = ranked.topk(min(count, len(y)), dim=1)
    return chosen, values == -torch.inf
