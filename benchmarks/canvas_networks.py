"""Small networks that name the digit of a canvas: convolutions, and a vision transformer.

They are trained once per seed and kept in the cache of the benchmarks.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.canvas import N_CLASSES, SIDE, FloatArray, make_canvases
from benchmarks.shared_files import load_or_compute_arrays
from ilk.training.trainer import Batch, Recipe, train

Kind = Literal["cnn", "vit"]
MEAN, STD = 0.25, 0.3  # of the pixels of textured canvases; networks see (x - MEAN) / STD
BATCH_SIZE = 64
PATCH, WIDTH, DEPTH, HEADS = 8, 64, 4, 4


class CanvasCNN(nn.Module):
    """Four convolutions (16, 32, 64, 64) with batch norm, average pooling and a linear layer.

    The first and the third halve the resolution, so that the last map is 14 x 14.
    """

    def __init__(self) -> None:
        super().__init__()
        widths = (1, 16, 32, 64, 64)
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(a, b, 3, 2 if i in (0, 2) else 1, 1, bias=False),
                nn.BatchNorm2d(b),
                nn.ReLU(),
            )
            for i, (a, b) in enumerate(pairwise(widths))
        )
        self.head = nn.Linear(widths[-1], N_CLASSES)

    def forward_maps(self, x: Tensor) -> list[Tensor]:
        """Return the outputs `[b, c, h, w]` of the four convolutions for normalized images."""
        maps: list[Tensor] = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps

    def forward(self, x: Tensor) -> Tensor:
        """Return logits `[b, 10]` of normalized images `[b, 1, 56, 56]`."""
        logits: Tensor = self.head(self.forward_maps(x)[-1].mean((2, 3)))
        return logits


class Block(nn.Module):
    """A transformer block that normalizes first; `attention` holds its last `[b, heads, t, t]`."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.project = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(
            nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH)
        )
        self.attention = torch.zeros(0)

    def forward(self, x: Tensor) -> Tensor:
        b, t, _ = x.shape
        q, k, v = self.qkv(self.norm1(x)).reshape(b, t, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        self.attention = (q @ k.transpose(-2, -1) * (WIDTH // HEADS) ** -0.5).softmax(-1)
        x = x + self.project((self.attention @ v).transpose(1, 2).reshape(b, t, WIDTH))
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]


class CanvasViT(nn.Module):
    """A vision transformer on convolutions: 7 x 7 patches, a class token, four blocks of width 64.

    Patches are cut from the last map of a `CanvasCNN`, which is trained first: from pixels, the
    same accuracy takes ten times as long.
    """

    grid = SIDE // PATCH

    def __init__(self) -> None:
        super().__init__()
        self.stem = CanvasCNN()
        self.embed = nn.Conv2d(WIDTH, WIDTH, 2, 2)
        self.place = nn.Parameter(0.02 * torch.randn(1, self.grid**2 + 1, WIDTH))
        self.class_token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.blocks = nn.ModuleList(Block() for _ in range(DEPTH))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, N_CLASSES)

    def forward_tokens(self, x: Tensor) -> list[Tensor]:
        """Return the tokens `[b, 50, 64]` after each block, the class token first."""
        patches = self.embed(self.stem.forward_maps(x)[-1]).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(len(x), -1, -1), patches], 1) + self.place
        tokens: list[Tensor] = []
        for block in self.blocks:
            x = block(x)
            tokens.append(x)
        return tokens

    def to_map(self, tokens: Tensor) -> Tensor:
        """Return the patches among tokens `[b, 50, 64]` as maps `[b, 64, 7, 7]`."""
        maps = tokens[:, 1:].transpose(1, 2)
        return maps.reshape(len(tokens), WIDTH, self.grid, self.grid)

    def forward_maps(self, x: Tensor) -> list[Tensor]:
        """Return the patches after each block as maps `[b, 64, 7, 7]`."""
        return [self.to_map(tokens) for tokens in self.forward_tokens(x)]

    def forward(self, x: Tensor) -> Tensor:
        """Return logits `[b, 10]` of normalized images `[b, 1, 56, 56]`."""
        logits: Tensor = self.head(self.norm(self.forward_tokens(x)[-1][:, 0]))
        return logits


CanvasNetwork = CanvasCNN | CanvasViT


def load_network(kind: Kind, seed: int, n: int = 10_000, epochs: int = 4) -> CanvasNetwork:
    """Return the network of a kind and seed in evaluation mode, trained on n canvases if needed.

    A transformer begins with the trained convolutions of its seed and has a quarter of the epochs.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: CanvasNetwork = CanvasCNN() if kind == "cnn" else CanvasViT()
    names = list(network.state_dict())

    def compute() -> tuple[FloatArray, ...]:
        if isinstance(network, CanvasViT):
            network.stem.load_state_dict(load_network("cnn", seed, n, epochs).state_dict())
        trained = _train_network(network, seed, n, epochs if kind == "cnn" else max(1, epochs // 4))
        return tuple(trained.state_dict()[name].numpy() for name in names)

    arrays = load_or_compute_arrays(f"canvas-{kind}-{seed}-{n}-{epochs}", compute)
    state = {name: torch.from_numpy(np.array(a)) for name, a in zip(names, arrays, strict=True)}
    network.load_state_dict(state)
    return network.eval().requires_grad_(False)


def _train_network(network: CanvasNetwork, seed: int, n: int, epochs: int) -> CanvasNetwork:
    canvases = make_canvases(n, seed)
    rows = Batch(normalize(canvases.x), torch.from_numpy(canvases.y))
    steps = max(1, epochs * n // BATCH_SIZE)
    recipe = Recipe(steps, BATCH_SIZE, 1e-2, min(50, steps // 4), 0.01, seed=seed)
    return train(network, rows, _compute_loss, recipe)


def _compute_loss(network: nn.Module, batch: Batch, _generator: torch.Generator) -> Tensor:
    return functional.cross_entropy(network(batch.x), batch.y)


def normalize(x: FloatArray) -> Tensor:
    """Return pixels `[n, 1, 56, 56]` in [0, 1] as the networks see them; 0 is the mean colour."""
    return (torch.from_numpy(np.asarray(x, np.float32)) - MEAN) / STD


def predict_proba(network: nn.Module, x: FloatArray, batch_size: int = 250) -> FloatArray:
    """Return probabilities `[n, 10]` of pixels `[n, 1, 56, 56]` in [0, 1]."""
    with torch.inference_mode():
        parts = [network(normalize(x[i : i + batch_size])) for i in range(0, len(x), batch_size)]
        return np.asarray(torch.cat(parts).softmax(1).numpy(), np.float32)
