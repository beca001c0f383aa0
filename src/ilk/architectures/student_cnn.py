"""Small convolutional networks by name, from 15,000 to 5 million parameters.

Convolutions of 3 x 3 with batch normalization and rectifiers, no other operators, so that they run
and quantize anywhere; blocks of two with a shortcut where the budget allows (Kaiming He and others,
2016, arXiv 1512.03385). The image is halved until its features are 4 to 7 pixels wide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ilk.core.errors import UnknownName
from ilk.core.student_images import check_images, convert_channels, read_sides

STUDENTS = ("cnn-15k", "cnn-100k", "cnn-1m", "cnn-5m")
MIN_SIDE = 8  # pixels
FINAL_SIDE = 4  # least width of the last features


@dataclass(frozen=True)
class StudentSize:
    """Size of a student.

    Attributes:
        bound: Parameters that it has at most, with the head of 10 classes on colour images.
        widths: Channels after the first convolution and after each stage.
        is_residual: Whether a stage is a convolution and a block of two with a shortcut, or a
            convolution alone.
    """

    bound: int
    widths: tuple[int, ...]
    is_residual: bool = True


SIZES = {
    "cnn-15k": StudentSize(15_000, (12, 16, 24, 40), False),
    "cnn-100k": StudentSize(100_000, (16, 24, 32, 44)),
    "cnn-1m": StudentSize(1_000_000, (32, 64, 96, 144)),
    "cnn-5m": StudentSize(5_000_000, (64, 128, 224, 336)),
}


class _Convolution(nn.Sequential):
    """Convolution of 3 x 3, batch normalization and, unless it ends a block, a rectifier."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, *, rectify: bool = True) -> None:
        layers = [
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        ]
        super().__init__(*layers, *([nn.ReLU(inplace=True)] if rectify else []))


class _Block(nn.Module):
    """Two convolutions, plus the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _Convolution(channels, channels)
        self.second = _Convolution(channels, channels, rectify=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return `[n, c, h, w]` of `[n, c, h, w]`."""
        return functional.relu(x + self.second(self.first(x)))


class StudentCNN(nn.Module):
    """Convolutions, the mean over the picture, and a linear head.

    Args:
        size: How large it is.
        n_classes: Number of classes.
        channels: 1 for grey images, 3 for colour.
        sides: Height and width of its images in pixels, each at least 8.
        seed: Seed of the weights.

    Raises:
        InputError: An image of that size is too small, or there is another number of channels.
    """

    def __init__(
        self,
        size: StudentSize,
        n_classes: int,
        channels: int,
        sides: tuple[int, int],
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_images(channels, sides, MIN_SIDE)
        self.channels = channels
        widths = size.widths
        self.pool, strides = plan_strides(min(sides), len(widths))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            layers: list[nn.Module] = []
            for before, after, stride in zip((channels, *widths), widths, strides, strict=False):
                layers.append(_Convolution(before, after, stride))
                if size.is_residual and len(layers) > 1:
                    layers.append(_Block(after))
            self.blocks = nn.Sequential(*layers)
            self.fc = nn.Linear(widths[-1], n_classes)

    @property
    def n_features(self) -> int:
        """Number of features that the head reads."""
        return self.fc.in_features

    def forward_features(self, x: Tensor) -> Tensor:
        """Return features `[n, f]` of normalized images `[n, c, h, w]`, or of colour images."""
        x = convert_channels(x, self.channels)
        if self.pool > 1:
            x = functional.avg_pool2d(x, self.pool, ceil_mode=True)
        features: Tensor = self.blocks(x).mean((2, 3))
        return features

    def forward(self, x: Tensor) -> Tensor:
        """Return logits `[n, k]` of normalized images `[n, c, h, w]`."""
        logits: Tensor = self.fc(self.forward_features(x))
        return logits


def plan_strides(side: int, n_layers: int) -> tuple[int, list[int]]:
    """Return the factor by which images are pooled first, and the stride of each convolution.

    Args:
        side: Shorter side of the image in pixels.
        n_layers: Number of convolutions that may halve the picture; the first does so last.
    """
    halvings = max(0, (side // FINAL_SIDE).bit_length() - 1)
    later = min(halvings, n_layers - 1)
    is_first = halvings >= n_layers
    strides = [2 if is_first else 1] + [2] * later + [1] * (n_layers - 1 - later)
    pool: int = 2 ** max(0, halvings - n_layers)
    return pool, strides


def make_student(
    name: str, n_classes: int, channels: int, size: int | Sequence[int], seed: int = 0
) -> StudentCNN:
    """Return a student with random weights.

    Args:
        name: `cnn-15k`, `cnn-100k`, `cnn-1m` or `cnn-5m`: how many parameters it has at most, with
            the head of 10 classes.
        n_classes: Number of classes.
        channels: 1 for grey images, 3 for colour.
        size: Side of its images in pixels, or height and width.
        seed: Seed of the weights.

    Raises:
        UnknownName: There is no such student.
        InputError: Its images would be too small.
    """
    if name not in SIZES:
        raise UnknownName("student", name, tuple(SIZES))
    return StudentCNN(SIZES[name], n_classes, channels, read_sides(size), seed)
