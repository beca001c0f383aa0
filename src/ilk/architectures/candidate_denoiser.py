"""A denoiser of distributions over candidates: which of the items found belongs to the query.

Peng Jin and others, 2023, DiffusionRet: Generative Text-Video Retrieval with Diffusion Model,
arXiv 2303.09867. With query u, items v_c, noisy distribution x_t and an embedding e_t of its level:

    a = softmax_c( W_q (u + e_t) . W_k (v_c + e_t) / sqrt(h) + x_tc )
    out_c = MLP([ W_o sum_c a_c W_v (v_c + e_t) ; v_c ]) + a_c,    x_0 = softmax(100 out)

The division by sqrt(h) is a departure. Levels are continuous, in [0, 1], on the cosine schedule of
Alex Nichol, Prafulla Dhariwal, 2021, arXiv 2102.09672; samples come from the deterministic steps of
Jiaming Song and others, 2021, Denoising Diffusion Implicit Models, arXiv 2010.02502.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

SCALE = 100.0  # of the outputs before the softmax
N_FREQUENCIES = 8
SHIFT = 0.008  # of the cosine schedule


def compute_signal(level: Tensor) -> Tensor:
    """Return the fraction of variance that is signal, `[b]`: from 1 at `level [b]` 0 to 0 at 1."""
    angle = (level + SHIFT) / (1 + SHIFT) * math.pi / 2
    start = math.cos(SHIFT / (1 + SHIFT) * math.pi / 2) ** 2
    return (angle.cos() ** 2 / start).clamp(0, 1)


def add_noise(x: Tensor, level: Tensor, noise: Tensor) -> Tensor:
    """Return `x [b, n]` at noise levels `level [b]`, with standard normal `noise [b, n]`."""
    signal = compute_signal(level)[:, None]
    return signal.sqrt() * x + (1 - signal).sqrt() * noise


class CandidateDenoiser(nn.Module):
    """The network for frozen embeddings of queries and items.

    Args:
        width: Length e of the embeddings.
        hidden: Width h of attention and MLP.
        reads_noise: False ignores distribution and level: a re-ranker by cross-attention.
    """

    def __init__(self, width: int, hidden: int = 64, reads_noise: bool = True) -> None:
        super().__init__()
        self.reads_noise, self.hidden = reads_noise, hidden
        self.level = nn.Linear(2 * N_FREQUENCIES, width)
        self.query, self.key = nn.Linear(width, hidden), nn.Linear(width, hidden)
        self.value, self.output = nn.Linear(width, hidden), nn.Linear(hidden, hidden)
        self.mlp = nn.Sequential(
            nn.Linear(hidden + width, 2 * hidden), nn.ReLU(), nn.Linear(2 * hidden, 1)
        )

    def forward(
        self,
        query: Tensor,
        items: Tensor,
        noisy: Tensor,
        level: Tensor,
        is_missing: Tensor | None = None,
    ) -> Tensor:
        """Return logits of the clean distribution, `[b, n]`.

        Args:
            query: Embedding of each query, `[b, e]`.
            items: Embeddings of its candidates, `[b, n, e]`.
            noisy: Noisy distribution over them, `[b, n]`.
            level: Its level, `[b]` in [0, 1].
            is_missing: Candidates that do not count, `[b, n]` bool.
        """
        if self.reads_noise:
            embedding = self.level(_embed_level(level))
            query, items = query + embedding, items + embedding[:, None]
        q, k, v = self.query(query), self.key(items), self.value(items)
        logits = torch.einsum("bh,bnh->bn", q, k) / math.sqrt(self.hidden)
        if self.reads_noise:
            logits = logits + noisy
        if is_missing is not None:
            logits = logits.masked_fill(is_missing, -torch.inf)
        attention = logits.softmax(1)
        z = self.output(torch.einsum("bn,bnh->bh", attention, v))
        joined = torch.cat([z[:, None].expand(-1, items.shape[1], -1), items], 2)
        out = SCALE * (self.mlp(joined)[:, :, 0] + attention)
        if is_missing is not None:
            out = out.masked_fill(is_missing, -torch.inf)
        return out  # type: ignore[no-any-return]

    @torch.no_grad()
    def sample(
        self, query: Tensor, items: Tensor, generator: torch.Generator, steps: int = 10
    ) -> Tensor:
        """Return a distribution over candidates generated from noise, `[b, n]`.

        Args:
            query: `[b, e]`.
            items: `[b, n, e]`.
            generator: Source of the noise.
            steps: Deterministic steps, >= 1; a network that does not read noise takes one.
        """
        b, n = items.shape[:2]
        x = torch.randn(b, n, generator=generator)
        levels = torch.linspace(1, 0, (steps if self.reads_noise else 1) + 1)
        clean = x
        for level, lower in pairwise(levels):
            here, there = level.expand(b), lower.expand(b)
            clean = self(query, items, x, here).softmax(1)
            signal = compute_signal(here)[:, None]
            noise = (x - signal.sqrt() * clean) / (1 - signal).sqrt()
            x = add_noise(clean, there, noise)
        return clean

    @classmethod
    def make_example(cls, d: int, k: int) -> CandidateDenoiser:
        """Return a network for pairs of `d` features, half of them of the query."""
        return cls(d // 2, 8)


def _embed_level(level: Tensor) -> Tensor:
    """Return sines and cosines of levels `[b]`, `[b, 16]`."""
    frequencies = math.pi * 2.0 ** torch.arange(
        N_FREQUENCIES, dtype=level.dtype, device=level.device
    )
    angles = level[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], 1)
