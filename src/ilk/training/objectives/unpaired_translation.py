"""Unpaired translation of images that keeps edges: day becomes night where it was.

Albert Mohwald, Tomas Jenicek, Ondrej Chum, 2023, Dark Side Augmentation: Generating Diverse Night
Examples for Metric Learning, arXiv 2309.16351. One generator G, no cycle; a patch discriminator D
with least squares (Xudong Mao and others, 2017, arXiv 1611.04076); edges E must stay:

    L = mean (D(G(x)) - 1)^2 + w mean |E(x) - E(G(x))|
        + 1/2 mean (D(y) - 1)^2 + 1/2 mean D(sg G(x))^2,      x of the source, y of the target

in which the first line trains G alone and the second D alone. Departures: E is the length of the
Sobel gradient over its mean in the image, so that mere darkening changes nothing, where the paper
tunes a network of edges; both are updated at once, where the paper alternates.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from ilk.architectures.image_translator import ImageTranslator, PatchDiscriminator
from ilk.training.batch import Batch
from ilk.training.objective import Objective, TrainingStep, unwrap

SOBEL = ((1.0, 0.0, -1.0), (2.0, 0.0, -2.0), (1.0, 0.0, -1.0))
EPSILON = 1e-3


class UnpairedTranslation(Objective):
    """The loss of an `ImageTranslator`: rows of label 0 are the source, all others the target.

    Args:
        edges: Weight w of the edges, >= 0.
        seed: Seed of the discriminator's weights.
    """

    supports_weights = False
    discriminator: PatchDiscriminator

    def __init__(self, edges: float = 5.0, seed: int = 0) -> None:
        super().__init__()
        self.edges, self.seed = edges, seed

    def setup(self, network: nn.Module, data: object) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.discriminator = PatchDiscriminator(unwrap(network, ImageTranslator).channels)

    def forward(self, network: nn.Module, batch: Batch, step: TrainingStep) -> Tensor:
        generator = unwrap(network, ImageTranslator)
        images = batch.x.reshape(-1, *generator.shape)
        source, target = images[batch.y == 0], images[batch.y != 0]
        loss = images.sum() * 0
        if len(source):
            made = generator(source, step.generator)
            fixed = {n: p.detach() for n, p in self.discriminator.named_parameters()}
            judged = functional_call(self.discriminator, fixed, (made,))
            loss = loss + (judged - 1).square().mean()
            loss = loss + self.edges * (find_edges(source) - find_edges(made)).abs().mean()
            loss = loss + self.discriminator(made.detach()).square().mean() / 2
        if len(target):
            loss = loss + (self.discriminator(target) - 1).square().mean() / 2
        return loss

    @classmethod
    def make_network(cls, d: int, k: int) -> nn.Module:
        return ImageTranslator((1, 1, d))


def find_edges(x: Tensor) -> Tensor:
    """Return the strength of edges, `[n, c, h, w]`, of mean about 1 in each image."""
    n, c, height, width = x.shape
    sobel = torch.tensor(SOBEL, dtype=x.dtype, device=x.device)
    kernels = torch.stack([sobel, sobel.T])[:, None]
    padded = functional.pad(x.reshape(n * c, 1, height, width), (1, 1, 1, 1), mode="replicate")
    gradient = functional.conv2d(padded, kernels)
    strength = (gradient.square().sum(1) + EPSILON**2).sqrt().reshape(n, c, height, width)
    return strength / (strength.mean((1, 2, 3), keepdim=True) + EPSILON)
