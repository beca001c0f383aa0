"""A map from frozen features to an embedding of unit length, for metric learning."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ilk.maths.pca import find_axes

EPSILON = 1e-12

Axes = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


class MetricHead(nn.Module):
    """`normalize(W u + B relu(A u + a))` with `u = (x - centre) / scale`; without `hidden`, `W u`.

    `from_data` starts W at the principal axes of the features and B at 0, so that training starts
    at the features as they are, as far as the width lets them through.

    Attributes:
        centre: Mean of the features, `[d]`.
        scale: Divides the centred features; one number, so that their directions stay.
        linear: W, `[width, d]`.
        inner, outer: A with its bias, and B; None without hidden units.

    Args:
        d: Number of features.
        width: Width of the embedding.
        hidden: Number of hidden units; 0 makes the map linear.
    """

    centre: Tensor
    scale: Tensor

    def __init__(self, d: int, width: int = 64, hidden: int = 0) -> None:
        super().__init__()
        self.linear = nn.Linear(d, width, bias=False)
        self.inner = nn.Linear(d, hidden) if hidden else None
        self.outer = nn.Linear(hidden, width, bias=False) if hidden else None
        if self.outer is not None:
            nn.init.zeros_(self.outer.weight)
        self.register_buffer("centre", torch.zeros(d))
        self.register_buffer("scale", torch.ones(()))

    @classmethod
    def from_data(
        cls, x: NDArray[Any], width: int = 64, hidden: int = 0, seed: int = 0
    ) -> MetricHead:
        """Return a head that starts at the principal axes of features `[n, d]`.

        Args:
            x: Features of the training rows.
            width: Width of the embedding; axes beyond the rank of the features are random.
            hidden: Number of hidden units.
            seed: Seed of random weights.
        """
        return cls.from_axes(find_axes(x, np.float32), len(x), width, hidden, seed)

    @classmethod
    def from_axes(
        cls, axes: Axes, n: int, width: int = 64, hidden: int = 0, seed: int = 0
    ) -> MetricHead:
        """Return what `from_data` returns, from the principal axes of the n rows.

        Args:
            axes: Centre, basis and eigenvalues, as `ilk.maths.pca.find_axes` returns them.
            n: Number of rows.
            width, hidden, seed: See `from_data`.
        """
        centre, basis, eigenvalues = axes
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            head = cls(len(centre), width, hidden)
        rank = min(width, basis.shape[1])
        scale = np.sqrt(max(float(eigenvalues.sum()) / max(n, 1), 1e-12))
        with torch.no_grad():
            head.centre.copy_(torch.from_numpy(np.array(centre)))
            head.scale.fill_(float(scale))
            head.linear.weight[rank:] *= 1e-2
            head.linear.weight[:rank] = torch.from_numpy(basis[:, :rank].T.astype(np.float32))
        return head

    def forward_features(self, x: Tensor) -> Tensor:
        """Return centred and scaled features `[n, d]`."""
        return (x - self.centre) / self.scale

    def project(self, u: Tensor) -> Tensor:
        """Return the embedding `[n, width]` of centred and scaled features `[n, d]`."""
        z: Tensor = self.linear(u)
        if self.inner is not None and self.outer is not None:
            z = z + self.outer(functional.relu(self.inner(u)))
        return functional.normalize(z, dim=1, eps=EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        """Return the embedding `[n, width]` of features `[n, d]`."""
        return self.project(self.forward_features(x))
