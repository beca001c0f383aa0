"""Small convolutional networks of colour or grey pictures, and how they are trained and judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ilk.training.sources import Source
from ilk.training.trainer import Batch, Objective, Recipe, augment_objective, train

N_TEST_ROWS = 1024  # at a time
N = TypeVar("N", bound=nn.Module)


class _Residual(nn.Module):
    """Two convolutions with normalization of groups, halving the picture, and a shortcut."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)])
        self.shortcut = nn.Conv2d(inputs, outputs, 1, 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        z = functional.relu(self.norms[0](self.first(x)))
        return functional.relu(self.norms[1](self.second(z)) + self.shortcut(x))


class ConvNet(nn.Module):
    """Convolutions of stride 2, or residual blocks of two, the mean over the picture and a head.

    Args:
        widths: Channels of each layer or block; each halves the picture.
        k: Number of classes.
        channels: Of the pictures.
        is_residual: A convolution of stride 2 and residual blocks (ResNet-8 has three).
        seed: Seed of the weights.
    """

    def __init__(
        self,
        widths: Sequence[int],
        k: int,
        channels: int = 3,
        is_residual: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            layers: list[nn.Module] = []
            for i, (before, after) in enumerate(zip((channels, *widths), widths, strict=False)):
                if is_residual and i:
                    layers.append(_Residual(before, after))
                else:
                    convolution = nn.Conv2d(before, after, 3, 2, 1, bias=False)
                    layers += [convolution, nn.BatchNorm2d(after), nn.ReLU()]
            self.body = nn.Sequential(*layers)
            self.fc = nn.Linear(widths[-1], k)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return features `[n, f]` of pictures `[n, c, h, w]`."""
        return self.body(x).mean((2, 3))  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        """Return logits `[n, k]`."""
        return self.fc(self.forward_features(x))  # type: ignore[no-any-return]


def flip_and_shift(batch: Batch, generator: torch.Generator) -> Batch:
    """Mirror half of the pictures and move each by up to 3 pixels, with black at the borders."""
    x = batch.x
    is_mirrored = torch.rand(len(x), generator=generator) < 0.5
    x = torch.where(is_mirrored[:, None, None, None], x.flip(3), x)
    return replace_pictures(batch, shift(x, 3, generator))


def shift(x: Tensor, reach: int, generator: torch.Generator) -> Tensor:
    """Return pictures `[n, c, h, w]` moved by up to `reach` pixels each way."""
    n, _, height, width = x.shape
    padded = functional.pad(x, (reach,) * 4)
    top, left = torch.randint(2 * reach + 1, (2, n), generator=generator)
    rows = top[:, None] + torch.arange(height)
    columns = left[:, None] + torch.arange(width)
    picked = padded.transpose(0, 1)[
        :, torch.arange(n)[:, None, None], rows[:, :, None], columns[:, None]
    ]
    return picked.transpose(0, 1)


def replace_pictures(batch: Batch, x: Tensor) -> Batch:
    """Return the batch with other pictures of the same rows."""
    return Batch(x, batch.y, batch.indices, batch.weight)


def train_student(
    network: N,
    rows: Source,
    objective: Objective,
    recipe: Recipe,
    augment: Callable[[Batch, torch.Generator], Batch] | None = None,
) -> N:
    """Return the network trained by the one trainer; with `augment`, on changed pictures."""
    return train(
        network, rows, augment_objective(objective, augment) if augment else objective, recipe
    )


@torch.inference_mode()
def compute_logits(network: nn.Module, x: Tensor) -> Tensor:
    """Return logits `[n, k]` of pictures `[n, c, h, w]`."""
    network.eval()
    return torch.cat([network(part) for part in torch.split(x, N_TEST_ROWS)])


def measure_accuracy(logits: Tensor, y: Tensor) -> float:
    """Return the part of rows whose greatest logit is that of their class."""
    return float((logits.argmax(1) == y).float().mean())


def count_parameters(network: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def standardize(x: NDArray[np.float32], shape: tuple[int, int, int]) -> Tensor:
    """Return flat rows in [0, 1] as pictures `[n, c, h, w]`, about standardized."""
    pictures = torch.from_numpy(np.array(x, np.float32)).reshape(-1, *shape)
    return (pictures - 0.5) / 0.25
