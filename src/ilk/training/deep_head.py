"""A head of several hidden layers on frozen features."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ilk.architectures.head import Head
from ilk.core.data import Data
from ilk.core.deep_mlp import DeepMLP


class DeepHead(Head):
    """A `Head` with further hidden layers of the same width; the last one counts as its hidden one.

    Attributes:
        trunk: The further layers, each followed by the rectifier.

    Args:
        d: Number of features.
        hidden: Number of units of each hidden layer.
        k: Number of classes.
        depth: Number of hidden layers, >= 2.
    """

    def __init__(self, d: int, hidden: int, k: int, depth: int = 2) -> None:
        super().__init__(d, hidden, k)
        self.trunk = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(depth - 1))

    @classmethod
    def from_data(cls, data: Data, hidden: int = 256, seed: int = 0, depth: int = 2) -> DeepHead:
        """Return a head for `data`, with random weights.

        Args:
            data: Features `[n, d]`; unlabelled rows count for the standardization.
            hidden: Number of units of each hidden layer.
            seed: Seed of the weights.
            depth: Number of hidden layers, >= 2.
        """
        shallow = Head.from_data(data, hidden, seed)
        head = cls(data.x.shape[1], hidden, data.k, depth)
        head.load_state_dict(shallow.state_dict(), strict=False)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # so that the number of classes does not affect the trunk
            for layer in head.trunk:
                layer.load_state_dict(nn.Linear(hidden, hidden).state_dict())
        return head

    def compute_hidden(self, x: Tensor) -> Tensor:
        """Return the rectified units `[n, h]` of the last hidden layer for standardized `x`."""
        hidden = super().compute_hidden(x)
        for layer in self.trunk:
            hidden = functional.relu(layer(hidden))
        return hidden

    def to_model(self) -> DeepMLP:
        """Return the head as a model of plain arrays, which can be saved."""

        def stack(name: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
            parts = [getattr(layer, name).detach().cpu().numpy() for layer in self.trunk]
            return np.stack(parts).astype(np.float32)

        plain = super().to_model()
        return DeepMLP(
            plain.centre,
            plain.scale,
            plain.hidden_weight,
            plain.hidden_bias,
            plain.weight,
            plain.bias,
            stack("weight"),
            stack("bias"),
        )
