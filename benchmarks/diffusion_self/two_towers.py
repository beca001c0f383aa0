"""The discriminative control: an image tower and a caption tower, trained contrastively.

Alec Radford and others, 2021, Learning Transferable Visual Models From Natural Language
Supervision, arXiv 2103.00020: symmetric cross-entropy of cosine similarities within a batch. The
image tower is the trunk of the diffusion network with a pooled last layer, the caption tower its
embedding of captions, so that both have the same size.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ilk.diffusion.denoiser.karras import Denoiser
from ilk.diffusion.pretraining.supervised_baseline import PatchClassifier
from ilk.training.trainer import Batch

WIDTH, LEVEL = 64, 0.05  # of the common space; noise level that conditions the trunk
START_SCALE, MAX_SCALE = 10.0, 100.0


class TwoTowers(nn.Module):
    """Scores of captions; takes over the weights of `denoiser`, a U-Net with captions."""

    def __init__(self, denoiser: Denoiser) -> None:
        super().__init__()
        self.sigma_data, self.null = denoiser.sigma_data, len(denoiser.classes)
        self.backbone = denoiser.network
        embedding = cast(nn.Module, self.backbone.embedding)
        self.caption = cast(nn.Module, embedding.class_embed)
        last, patch = cast(nn.Conv2d, self.backbone.proj_out), cast(int, self.backbone.patch)
        self.backbone.proj_out = PatchClassifier(last.in_channels, WIDTH, patch, axis=1)
        embedding_width = cast(nn.Linear, self.caption.output).out_features
        self.project = nn.Linear(embedding_width, WIDTH)
        self.log_scale = nn.Parameter(torch.tensor(math.log(START_SCALE)))

    def embed_images(self, x: Tensor) -> Tensor:
        """Return unit vectors `[n, 64]` of images in [-1, 1]."""
        n = len(x)
        level = torch.full((n,), math.log(LEVEL))
        null = torch.full((n,), self.null)
        return functional.normalize(self.backbone(x / self.sigma_data, level, null).mean((2, 3)))

    def embed_captions(self, captions: Tensor) -> Tensor:
        """Return unit vectors `[n, 64]` of caption indices `[n]`."""
        return functional.normalize(self.project(functional.silu(self.caption(captions))))

    @torch.no_grad()
    def compare(self, x: Tensor, captions: Tensor) -> Tensor:
        """Return the similarity of each image and its caption, `[n]`."""
        images = torch.cat([self.embed_images(part) for part in torch.split(x, 256)])
        return (images * self.embed_captions(captions)).sum(1)


def compute_contrastive_loss(
    network: nn.Module, batch: Batch, _generator: torch.Generator
) -> Tensor:
    """Return the symmetric cross-entropy of a batch; captions that occur twice are no negatives."""
    towers = cast(TwoTowers, network)
    images, captions = towers.embed_images(batch.x), towers.embed_captions(batch.y)
    scale = towers.log_scale.exp().clamp(max=MAX_SCALE)
    same = batch.y[:, None] == batch.y[None]
    is_repeated = same & ~torch.eye(len(batch.y), dtype=torch.bool)
    logits = (scale * images @ captions.T).masked_fill(is_repeated, -torch.inf)
    target = torch.arange(len(batch.y))
    image_loss = functional.cross_entropy(logits, target)
    return (image_loss + functional.cross_entropy(logits.T, target)) / 2
