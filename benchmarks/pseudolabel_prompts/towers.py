"""A small image-text model with prompts: digits, and captions of four words.

A caption has up to three words for measured properties of the digit (see `image_text_model`) and,
in half of the cases, its name at the end; the caption tower is one transformer layer, so the words
before a name change what it means. The prompt in words is "nothing nothing nothing NAME". Images
are rotated, scaled and shifted in training, without which the model knows MNIST alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.image_text_model import (
    N_WORDS,
    assign_words,
    find_thresholds,
    measure_properties,
)
from benchmarks.shared_files import load_or_compute_arrays
from ilk.architectures.cosine_classifier import PromptedText
from ilk.architectures.two_towers import CaptionTower, ImageTower
from ilk.core.data import Data, Features, Labels
from ilk.training.augmentations import RotateAndScale, Shift, compose
from ilk.training.batch import Batch
from ilk.training.optimizers import AdamW
from ilk.training.recipe import Recipe
from ilk.training.trainer import train

K, SLOTS, WIDTH = 10, 3, 64
NOTHING = N_WORDS + K  # the word of an empty place
NAME_PROBABILITY, TEMPERATURE = 0.5, 0.07
SCALE = 1 / TEMPERATURE
N_TRAIN, STEPS, BATCH_SIZE, LR = 10_000, 1000, 128, 3e-3


@dataclass(frozen=True, eq=False)
class Towers:
    """A trained image tower and caption tower."""

    images: nn.Module
    captions: CaptionTower

    @torch.no_grad()
    def embed(self, x: Features) -> Features:
        """Return unit vectors `[n, 64]` of flat images `[n, 784]`."""
        z = torch.cat([self.images(part) for part in torch.split(to_images(x), 500)])
        return np.asarray(functional.normalize(z, dim=1).numpy(), np.float32)

    def make_prompt(self) -> PromptedText:
        """Return the prompts of all names, with three words to be learned."""
        tokens = torch.full((K, SLOTS + 1), NOTHING)
        tokens[:, -1] = N_WORDS + torch.arange(K)
        return PromptedText(self.captions, "words", {"tokens": tokens}, 0, SLOTS)


def to_images(x: Features) -> Tensor:
    """Return images `[n, 1, 28, 28]` of flat rows."""
    return torch.from_numpy(np.array(x, np.float32)).reshape(-1, 1, 28, 28)


def read_words(data: Data, count: int) -> Labels:
    """Return the words for the properties of the first rows of MNIST, `[count, 8]`."""

    def compute() -> tuple[NDArray[np.float64], ...]:
        return (measure_properties(data.x[:count]),)

    (values,) = load_or_compute_arrays(f"mnist-properties-{count}", compute)
    return assign_words(values, find_thresholds(values))


def train_towers(data: Data, seed: int, small: bool = False) -> Towers:
    """Train both towers on the first rows of MNIST by contrasting images and captions."""
    count = 300 if small else N_TRAIN
    words = torch.from_numpy(read_words(data, count))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        images = ImageTower((1, 28, 28), WIDTH)
        towers = nn.ModuleList([images, CaptionTower(NOTHING + 1, SLOTS + 1, WIDTH)])

    augment = compose(RotateAndScale(15, 1.3), Shift(3))

    def objective(net: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        assert isinstance(net, nn.ModuleList)
        assert batch.indices is not None
        tokens = draw_captions(words[batch.indices], batch.y, generator)
        batch = augment(batch, generator)
        u, v = (functional.normalize(t, dim=1) for t in (net[0](batch.x), net[1](tokens)))
        scores, targets = SCALE * u @ v.T, torch.arange(len(u))
        losses = [functional.cross_entropy(s, targets) for s in (scores, scores.T)]
        return torch.stack(losses).mean()

    rows = Batch(to_images(data.x[:count]), torch.from_numpy(np.array(data.y[:count])))
    steps = 4 if small else STEPS
    recipe = Recipe(steps, BATCH_SIZE, LR, steps // 10, seed=seed, optimizer=AdamW())
    return Towers(*train(towers, rows, objective, recipe))


def draw_captions(words: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
    """Return captions `[n, 4]`: up to three properties in any order, and sometimes the name."""
    n, n_properties = words.shape
    order = torch.rand(n, n_properties, generator=generator).argsort(1)[:, :SLOTS]
    chosen = words.gather(1, order)
    count = torch.randint(0, SLOTS + 1, (n, 1), generator=generator)
    chosen = torch.where(torch.arange(SLOTS) < count, chosen, NOTHING)
    is_named = torch.rand(n, generator=generator) < NAME_PROBABILITY
    return torch.cat([chosen, torch.where(is_named, N_WORDS + y, NOTHING)[:, None]], 1)
