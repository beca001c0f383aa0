"""Contrast and captions at once: a captioner becomes two encoders without losing its words.

Yassine Ouali and others, 2024, Discriminative Fine-tuning of LVLMs (VladVA), arXiv 2412.04378:

    L = a InfoNCE(images, captions; T) + b mean over words of - log p(word | words before, summary)

The paper contrasts short captions and spells out long ones; here both terms have every caption.
That words read the image through its summary alone is this module's reading of the paper.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ilk.architectures.captioner import Captioner
from ilk.training.batch import Batch
from ilk.training.losses import weighted_mean
from ilk.training.objective import Objective, TrainingStep, unwrap


class DiscriminativeCaptioning(Objective):
    """The loss of images `batch.x` and captions `batch.y`; the network is a `Captioner`.

    Args:
        contrast: Weight a, >= 0; equal captions in a batch are not negatives.
        words: Weight b, >= 0.
        temperature: T, > 0.
        through_summary: Words read the summary of the image; otherwise the image, as in
            pretraining.
    """

    def __init__(
        self,
        contrast: float = 1.0,
        words: float = 1.0,
        temperature: float = 0.07,
        through_summary: bool = True,
    ) -> None:
        super().__init__()
        self.contrast, self.words = contrast, words
        self.temperature, self.through_summary = temperature, through_summary

    def forward(self, network: nn.Module, batch: Batch, step: TrainingStep) -> Tensor:
        captioner = unwrap(network, Captioner)
        losses = torch.zeros(len(batch), device=batch.x.device)
        if self.contrast:
            images, captions = (
                captioner.embed_images(batch.x),
                captioner.embed_captions(batch.y),
            )
            contrast = contrastive_losses(images @ captions.T / self.temperature, batch.y)
            losses = losses + self.contrast * contrast
        if self.words:
            logits = captioner.compute_word_logits(batch.x, batch.y, self.through_summary)
            losses = losses + self.words * word_losses(logits, captioner.captions[batch.y])
        return weighted_mean(losses, batch.weight)

    @classmethod
    def make_network(cls, d: int, k: int) -> nn.Module:
        return Captioner.make_example(d, k)


def contrastive_losses(logits: Tensor, y: Tensor) -> Tensor:
    """Return the mean loss of both directions, `[n]`, of logits `[n, n]` of pairs labelled `y`."""
    is_self = torch.eye(len(y), dtype=torch.bool, device=y.device)
    logits = logits.masked_fill((y[:, None] == y) & ~is_self, -torch.inf)
    own = logits.diagonal()
    return (logits.logsumexp(1) + logits.logsumexp(0)) / 2 - own


def word_losses(logits: Tensor, words: Tensor) -> Tensor:
    """Return the mean cross-entropy of the words of each caption, `[n]`.

    Args:
        logits: `[n, length, words]`.
        words: `[n, length]` int64.
    """
    return functional.cross_entropy(logits.transpose(1, 2), words, reduction="none").mean(1)
