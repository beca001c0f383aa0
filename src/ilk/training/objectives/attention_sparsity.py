"""Cross-entropy and a penalty of the attention of a vision transformer's last block.

Yogi Prasetyo, Novanto Yudistira, Agus Wahyu Widodo, 2023, Sparse then Prune: Toward Efficient
Vision Transformers, arXiv 2307.11988. The paper calls the penalty a sparse regularization; the
authors' public code computes `0.01 mean log(1 + A^2)` of the attention A of the last block, after
the softmax. Rows of A sum to 1, so it is least where A is uniform: it spreads attention and leaves
weights as they are.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ilk.architectures.tiny_vit import TinyViT, TinyViTConfig
from ilk.training.batch import Batch
from ilk.training.losses import labelled_cross_entropy, weighted_mean
from ilk.training.objective import Objective, TrainingStep, unwrap


class AttentionSparsity(Objective):
    """`CE + weight mean log(1 + A^2)`, A `[n, heads, t, t]` the attention of the last block.

    The network has `blocks`, whose last has an `attn` with `qkv` and `num_heads`, as
    `ilk.architectures.tiny_vit` and timm's vision transformers have.

    Args:
        weight: Weight of the penalty, >= 0.
    """

    def __init__(self, weight: float = 0.01) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, network: nn.Module, batch: Batch, step: TrainingStep) -> Tensor:
        blocks: Any = unwrap(network).blocks
        tokens: list[Tensor] = []
        attention = blocks[-1].attn
        hook = attention.register_forward_pre_hook(lambda _, inputs: tokens.append(inputs[0]))
        try:
            logits = network(batch.x)
        finally:
            hook.remove()
        a = compute_attention(attention, tokens[0])
        penalty = weighted_mean((1 + a**2).log().flatten(1).mean(1), batch.weight)
        label_loss = labelled_cross_entropy(logits, batch.y, batch.weight)
        return label_loss + self.weight * penalty

    @classmethod
    def make_network(cls, d: int, k: int) -> nn.Module:
        """Return a transformer of two blocks for rows of `d` values, each a token."""
        return _Rows(TinyViTConfig(1, d, 1, 8, 2, 2), k)


class _Rows(TinyViT):
    """A transformer of rows `[n, d]` in place of images."""

    def __init__(self, config: TinyViTConfig, classes: int) -> None:
        super().__init__(config, classes)
        self.position = nn.Parameter(self.position[:, : config.size])

    def embed_patches(self, x: Tensor) -> Tensor:
        return super().embed_patches(x.reshape(len(x), 1, 1, -1))


def compute_attention(attention: Any, tokens: Tensor) -> Tensor:
    """Return the attention `[n, heads, t, t]` of a module for its inputs `[n, t, width]`."""
    n, t, width = tokens.shape
    heads = attention.num_heads
    q, k, _ = attention.qkv(tokens).reshape(n, t, 3, heads, -1).permute(2, 0, 3, 1, 4)
    scores: Tensor = q @ k.transpose(-2, -1) / torch.tensor(width / heads).sqrt()
    return scores.softmax(-1)
