"""A language model of 64 gated recurrent units, trained by the one trainer."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.color_filter.text import MAX_WORDS, Sentence
from ilk.training.optimizers import AdamW
from ilk.training.trainer import Batch, Recipe, train

IGNORED = -100  # behind the end of a sentence
BATCH_SIZE = 32


class RecurrentModel(nn.Module):
    """Scores `[n, l, v]` of the next word, given words `[n, l]`."""

    def __init__(self, n_words: int, width: int, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.words = nn.Embedding(n_words, width)
            self.units = nn.GRU(width, width, batch_first=True)
            self.bias = nn.Parameter(torch.zeros(n_words))
            nn.init.normal_(self.words.weight, std=0.1)

    def forward(self, x: Tensor) -> Tensor:
        states: Tensor = self.units(self.words(x))[0]
        return states @ self.words.weight.T + self.bias


def train_model(
    model: RecurrentModel, sentences: Sequence[Sentence], steps: int, lr: float, seed: int
) -> RecurrentModel:
    """Return a copy of `model` trained on `sentences` for `steps` updates."""
    x = pad(sentences)
    batch_size = min(BATCH_SIZE, len(x))
    recipe = Recipe(steps, batch_size, lr, min(10, steps // 3), 0.01, seed=seed, optimizer=AdamW())
    rows = Batch(x, torch.zeros(len(x), dtype=torch.int64))
    return train(copy.deepcopy(model).requires_grad_(True), rows, _compute_loss, recipe)


def compute_losses(
    model: RecurrentModel, sentences: Sequence[Sentence], size: int = 256
) -> NDArray[np.float64]:
    """Return the mean of `-log p` per word of each sentence, in nats."""
    out = []
    with torch.inference_mode():
        for x in torch.split(pad(sentences), size):
            loss = _compute_word_losses(model, x)
            mask = _find_targets(x) != IGNORED
            out.append((loss.sum(1) / mask.sum(1)).double().numpy())
    return np.concatenate(out)


def pad(sentences: Sequence[Sentence]) -> Tensor:
    """Return sentences as `[n, l]`, with `IGNORED` behind their ends."""
    out = np.full((len(sentences), MAX_WORDS + 2), IGNORED, np.int64)
    for row, sentence in zip(out, sentences, strict=True):
        row[: len(sentence)] = sentence
    return torch.from_numpy(out)


def _find_targets(x: Tensor) -> Tensor:
    return x[:, 1:]


def _compute_word_losses(model: nn.Module, x: Tensor) -> Tensor:
    """Return `-log p` of each word after the first, `[n, l - 1]`, 0 behind the end."""
    scores = model(x[:, :-1].clamp(min=0))
    return functional.cross_entropy(
        scores.transpose(1, 2), _find_targets(x), ignore_index=IGNORED, reduction="none"
    )


def _compute_loss(model: nn.Module, batch: Batch, _generator: torch.Generator) -> Tensor:
    return _compute_word_losses(model, batch.x).sum() / (_find_targets(batch.x) != IGNORED).sum()
