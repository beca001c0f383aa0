"""Models that many methods share: linear in the features, or in hidden units."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Features, Logits
from ilk.core.part_bounds import POSITIVE, Bounds

CHUNK_SIZE = 4096  # rows at a time


@dataclass(frozen=True, eq=False)
class Linear:
    """`x @ weight.T + bias`; a class without training rows has bias `-inf` and weight 0.

    Attributes:
        weight: `[k, d]` float32.
        bias: `[k]` float32.
    """

    kind: ClassVar[str] = "linear"
    shapes: ClassVar[dict[str, str]] = {"weight": "k d", "bias": "k"}

    weight: Features
    bias: Features

    def logits(self, x: Features) -> Logits:
        """Return scores `[n, k]`, float64, so that they do not depend on the batch size."""
        return apply_affine(x, self.weight, self.bias)

    @classmethod
    def from_arrays(cls, weight: Any, bias: Any) -> Linear:
        """Return the model of weight `[k, d]` and bias `[k]`, rounded to float32."""
        return cls(np.asarray(weight, np.float32), np.asarray(bias, np.float32))

    @classmethod
    def from_centred(cls, centre: Any, weight: Any, bias: Any) -> Linear:
        """Return `(x - centre) @ weight.T + bias` as one product, up to a shift of all scores.

        The mean weight over classes is subtracted, which changes no probability, and the bias is
        computed for the rounded weights, so that features far from 0 cost no precision.

        Args:
            centre: `[d]`.
            weight: `[k, d]`.
            bias: `[k]`.
        """
        present = np.isfinite(bias)
        centred_weight = np.where(present[:, None], weight - weight[present].mean(0), 0.0).astype(
            np.float32
        )
        return cls.from_arrays(centred_weight, bias - centred_weight.astype(np.float64) @ centre)


@dataclass(frozen=True, eq=False)
class NormalizedLinear:
    """`x / |x| @ weight.T + bias`: linear on the unit sphere, as cosine similarities are.

    Attributes:
        weight: `[k, d]` float32.
        bias: `[k]` float32.
    """

    kind: ClassVar[str] = "normalized_linear"
    shapes: ClassVar[dict[str, str]] = {"weight": "k d", "bias": "k"}

    weight: Features
    bias: Features

    def logits(self, x: Features) -> Logits:
        """Return scores `[n, k]`, float64; a row of zeros gets the bias alone."""
        return apply_affine(x, self.weight, self.bias, transform=normalize_rows)


@dataclass(frozen=True, eq=False)
class MLP:
    """A multilayer perceptron with one hidden ReLU layer on standardized features.

    Attributes:
        centre: Subtracted from the features, `[d]` float32.
        scale: Divisor of the centred features, `[d]` float32, > 0.
        hidden_weight: `[h, d]` float32.
        hidden_bias: Added before the ReLU, `[h]` float32.
        weight: `[k, h]` float32.
        bias: `[k]` float32; `-inf` for a class without training rows.
    """

    kind: ClassVar[str] = "mlp"
    shapes: ClassVar[dict[str, str]] = {
        "centre": "d",
        "scale": "d",
        "hidden_weight": "h d",
        "hidden_bias": "h",
        "weight": "k h",
        "bias": "k",
    }
    bounds: ClassVar[dict[str, Bounds]] = {"scale": POSITIVE}

    centre: Features
    scale: Features
    hidden_weight: Features
    hidden_bias: Features
    weight: Features
    bias: Features

    def compute_hidden(self, x: Features) -> NDArray[np.float64]:
        """Return the hidden units `[n, h]`, at least 0, of features `[n, d]`."""
        z = (np.asarray(x, np.float64) - self.centre) / self.scale
        return np.asarray(np.maximum(apply_affine(z, self.hidden_weight, self.hidden_bias), 0))

    def logits(self, x: Features) -> Logits:
        """Return scores `[n, k]`, float64."""
        return apply_affine(self.compute_hidden(x), self.weight, self.bias)


def apply_affine(
    x: Any,
    weight: Features,
    bias: Features,
    *,
    transform: Callable[[Any], Any] | None = None,
) -> Logits:
    """Return `x @ weight.T + bias`, `[n, k]` float64, computed `CHUNK_SIZE` rows at a time.

    Args:
        x: Rows, `[n, d]`.
        weight: `[k, d]`.
        bias: `[k]`.
        transform: What is done to the rows of a chunk first, such as `normalize_rows`.
    """
    weight_t, bias64 = weight.T.astype(np.float64), bias.astype(np.float64)
    out = np.empty((len(x), len(bias)))
    for start in range(0, len(x), CHUNK_SIZE):
        part = np.asarray(x[start : start + CHUNK_SIZE], np.float64)
        rows = part if transform is None else transform(part)
        out[start : start + CHUNK_SIZE] = rows @ weight_t + bias64
    return out


def normalize_rows(x: Any) -> Any:
    """Return rows `[n, d]` scaled to unit length, float64; rows of zeros stay zeros."""
    x = np.asarray(x, np.float64)
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(length > 0, length, 1.0)
