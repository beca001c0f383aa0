"""Attention maps of classes from the feature maps of a frozen network: T-TAME.

Mariano V. Ntrougkas, Nikolaos Gkalelis, Vasileios Mezaris, 2024, T-TAME: Trainable Attention
Mechanism for Explaining Convolutional Networks and Vision Transformers, arXiv 2403.04523.

    r_l = ReLU(F_l + BN(W_l F_l + b_l))         per tap l, W_l from C_l to C_l channels
    a   = sigmoid(V [up(r_1), ..., up(r_L)] + c)     one map in (0, 1) per class

Tokens of a vision transformer are reshaped to a grid first. All taps are brought to the grid of the
finest one, 56 at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

MAX_SIDE = 56  # cells of a map along its longer side


class TappedNetwork(Protocol):
    """A classifier whose inner feature maps can be read."""

    def forward_taps(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return logits `[b, k]` and feature maps, each `[b, c, h, w]`, of normalized images."""
        ...

    def __call__(self, x: Tensor) -> Tensor:
        """Return logits `[b, k]` of normalized images `[b, c, h, w]`."""
        ...


class AttentionMaps(nn.Module):
    """The trainable part: feature maps in, one map per class out.

    Args:
        channels: Channels of each feature map.
        n_classes: Number of classes, k.
    """

    def __init__(self, channels: Sequence[int], n_classes: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(c, c, 1) for c in channels)
        self.norms = nn.ModuleList(nn.BatchNorm2d(c) for c in channels)
        self.fuse = nn.Conv2d(sum(channels), n_classes, 1)

    def forward(self, taps: Sequence[Tensor]) -> Tensor:
        """Return maps `[b, k, h, w]` in (0, 1) for feature maps `[b, c, h', w']`."""
        pairs = zip(taps, self.convs, self.norms, strict=True)
        parts = [functional.relu(tap + norm(conv(tap))) for tap, conv, norm in pairs]
        return self.fuse(align_maps(parts)).sigmoid()  # type: ignore[no-any-return]


def align_maps(maps: Sequence[Tensor]) -> Tensor:
    """Return maps `[b, c, h, w]` side by side on the grid of the finest one, `MAX_SIDE` at most."""
    height, width = (max(m.shape[axis] for m in maps) for axis in (2, 3))
    shrink = min(1.0, MAX_SIDE / max(height, width))
    size = (max(1, round(height * shrink)), max(1, round(width * shrink)))
    return torch.cat([resize_maps(m, size) for m in maps], 1)


def resize_maps(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Return maps `[b, c, *size]`, interpolated bilinearly."""
    if tuple(maps.shape[2:]) == size:
        return maps
    return functional.interpolate(maps, size, mode="bilinear", align_corners=False)


class ExplainedNetwork(nn.Module):
    """A frozen classifier and its trainable attention maps.

    The classifier stays in evaluation mode, so that its batch statistics do not move.

    Args:
        classifier: An `nn.Module` that is a `TappedNetwork`.
        maps: The attention maps.
    """

    def __init__(self, classifier: Any, maps: AttentionMaps) -> None:
        super().__init__()
        self.classifier, self.maps = classifier.requires_grad_(False).eval(), maps

    def train(self, mode: bool = True) -> ExplainedNetwork:
        """Set the mode of the maps alone."""
        super().train(mode)
        self.classifier.eval()
        return self

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits `[b, k]` and maps `[b, k, h, w]` of normalized images `[b, c, h, w]`."""
        with torch.no_grad():
            logits, taps = self.classifier.forward_taps(x)
        return logits, self.maps([tap.detach() for tap in taps])

    def classify_masked(self, x: Tensor, maps: Tensor) -> Tensor:
        """Return logits `[b, k]` of normalized images times maps `[b, h, w]`: 0 is mean colour."""
        return self.classifier(x * resize_maps(maps[:, None], (x.shape[2], x.shape[3])))  # type: ignore[no-any-return]
