"""Trained attention maps of a classifier, as they are saved; see `ilk.explain.train_maps`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class AttentionTap:
    """What is computed of the feature map F `[c, h, w]` of one layer: `V ReLU(F + W F + b)`.

    Attributes:
        layer: Name of the layer in its network.
        weight: W, batch normalization included, `[c, c]`.
        bias: b, `[c]`.
        fusion: V, `[k, c]`.
    """

    kind: ClassVar[str] = "attention_tap"
    shapes: ClassVar[dict[str, str]] = {"weight": "c c", "bias": "c", "fusion": "k c"}

    layer: str
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    fusion: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class TrainedMaps:
    """Attention maps `sigmoid(sum over taps + bias)` of k classes.

    Attributes:
        taps: What is computed of each layer.
        bias: `[k]`.
        space: Key of the feature space of the network that they read.
        n_images: Number of images that they were trained on.
    """

    kind: ClassVar[str] = "attention_maps"
    shapes: ClassVar[dict[str, str]] = {"bias": "k"}

    taps: tuple[AttentionTap, ...]
    bias: NDArray[np.float32]
    space: str
    n_images: int

    @property
    def n_classes(self) -> int:
        """Number of classes, k."""
        return len(self.bias)
