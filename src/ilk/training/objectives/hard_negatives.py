"""Contrast of images and captions with hard negatives, without those that are likely false ones.

Tiancheng Gu and others, 2025, Breaking the Modality Barrier: Universal Embedding Learning with
Multimodal LLMs (UniME, stage 2), arXiv 2504.17432. With cosines s of a batch of pairs, row i drops
the negatives with s_ij > s_ii + beta, which are likely to be as true as its own caption, and keeps
the k largest of the others, H_i:

    L_i = - log( e(s_ii / T) / ( e(s_ii / T) + sum_{j in H_i} e(s_ij / T) ) )

A departure: the loss is the mean of both directions, image to caption and caption to image. Fewer
than k negatives stay fewer (the public code then takes dropped ones back, and the positive).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ilk.architectures.two_towers import TwoTowers
from ilk.training.batch import Batch
from ilk.training.losses import weighted_mean
from ilk.training.objective import Objective, TrainingStep, unwrap


class HardNegatives(Objective):
    """The loss of pairs of images `batch.x` and captions `batch.y`; the network is `TwoTowers`.

    Args:
        count: Hard negatives k per row, >= 1; None keeps all of them, which is InfoNCE.
        margin: beta; below 0, negatives almost as similar as the pair are dropped, too. None drops
            nothing.
        temperature: T, > 0.
        warmup: Updates with all negatives and no filter, >= 0: at first s_ii is low, and the filter
            would drop the true hard negatives.
        drops_equal: Drop the negatives with the same caption: an oracle where the captions tell.
        meanings: What each row of the table of captions means, `[m]` int64: `drops_equal` then
            compares meanings; None takes captions themselves.
    """

    meanings: Tensor | None

    def __init__(
        self,
        count: int | None = 8,
        margin: float | None = 0.1,
        temperature: float = 0.02,
        warmup: int = 0,
        drops_equal: bool = False,
        meanings: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.count, self.margin, self.temperature = count, margin, temperature
        self.warmup, self.drops_equal = warmup, drops_equal
        self.register_buffer("meanings", meanings)

    def forward(self, network: nn.Module, batch: Batch, step: TrainingStep) -> Tensor:
        towers = unwrap(network, TwoTowers)
        s = towers.embed_images(batch.x) @ towers.embed_captions(batch.y).T
        warm = step.index >= self.warmup
        is_dropped = torch.zeros_like(s, dtype=torch.bool)
        if self.drops_equal and warm:
            meaning = batch.y if self.meanings is None else self.meanings[batch.y]
            is_dropped = meaning[:, None] == meaning
        count, margin = (self.count, self.margin) if warm else (None, None)
        losses = [
            hard_negative_losses(one, dropped, count, margin, self.temperature)
            for one, dropped in ((s, is_dropped), (s.T, is_dropped.T))
        ]
        return weighted_mean(torch.stack(losses).mean(0), batch.weight)

    @classmethod
    def make_network(cls, d: int, k: int) -> nn.Module:
        return TwoTowers.make_example(d, k)


def hard_negative_losses(
    s: Tensor, is_dropped: Tensor, count: int | None, margin: float | None, temperature: float
) -> Tensor:
    """Return the loss of each row, `[n]`.

    Args:
        s: Cosines, `[n, n]`; the positives are on the diagonal.
        is_dropped: Negatives that are left out anyway, `[n, n]` bool; the diagonal is ignored.
        count: Hard negatives per row; None keeps all.
        margin: Negatives above the positive by more than this are left out; None leaves out none.
        temperature: Divides the cosines.
    """
    n = len(s)
    is_self = torch.eye(n, dtype=torch.bool, device=s.device)
    is_dropped = is_dropped | is_self
    if margin is not None:
        is_dropped = is_dropped | (s.detach() > s.detach().diagonal()[:, None] + margin)
    negatives = (s / temperature).masked_fill(is_dropped, -torch.inf)
    if count is not None and count < n:
        negatives = negatives.topk(count, dim=1).values
    logits = torch.cat([s.diagonal()[:, None] / temperature, negatives], 1)
    target = torch.zeros(n, dtype=torch.int64, device=s.device)
    return functional.cross_entropy(logits, target, reduction="none")


def find_false_negatives(s: Tensor, margin: float) -> Tensor:
    """Return which negatives the filter drops, `[n, n]` bool, for cosines `s [n, n]`."""
    above = s > s.diagonal()[:, None] + margin
    return above & ~torch.eye(len(s), dtype=torch.bool, device=s.device)
