"""EfficientNet-Lite0 as a student: pretrained features of 3.4 million parameters, a linear head."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ilk.architectures.efficientnet_lite import N_FEATURES, EfficientNetLite0
from ilk.architectures.student_head import remove_head
from ilk.core.errors import InputError

STUDENTS = ("efficientnet-lite0",)
START = "efficientnet-lite0"
MIN_SIDE = 32  # pixels: its features are one pixel wide then


class EfficientNetStudent(EfficientNetLite0):
    """The network with a head of its own.

    Args:
        n_classes: Number of classes.
        sides: Height and width of its images in pixels, each at least 32.
        seed: Seed of the weights.

    Raises:
        InputError: An image of that size is too small.
    """

    def __init__(self, n_classes: int, sides: tuple[int, int], seed: int = 0) -> None:
        if min(sides) < MIN_SIDE:
            raise InputError(
                f"images of {sides[0]} x {sides[1]} pixels are smaller than a student takes, which "
                f"is {MIN_SIDE} x {MIN_SIDE}; give a greater --size, or a student such as cnn-1m"
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            super().__init__()
            self.fc = nn.Linear(N_FEATURES, n_classes)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return features `[n, 1280]` of normalized images `[n, 3, h, w]`."""
        return super().forward(x)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits `[n, k]` of normalized images `[n, 3, h, w]`."""
        logits: Tensor = self.fc(self.forward_features(x))
        return logits


def make_student(
    name: str, n_classes: int, channels: int, size: int | tuple[int, int], seed: int = 0
) -> EfficientNetStudent:
    """Return a student with random weights, for colour images whatever `channels` says.

    Raises:
        InputError: Its images would be too small.
    """
    sides = (size, size) if isinstance(size, int) else size
    return EfficientNetStudent(n_classes, sides, seed)


def build_features(name: str, channels: int, size: Sequence[int]) -> nn.Module:
    """Return the network up to its features: normalized images `[n, 3, h, w]` to `[n, 1280]`."""
    return remove_head(make_student(name, 2, channels, (size[0], size[1])))
