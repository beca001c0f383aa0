"""An embedding of frozen features that starts as the features themselves."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ilk.architectures.head import Head
from ilk.core.data import Data


class ResidualHead(Head):
    """`e(x) = (x - centre) / unit + V relu(U z + a)` with V 0 at the start, and z standardized `x`.

    Distances between embeddings are therefore those between features, up to one factor, until
    training changes them. The output layer is on the embedding.

    Attributes:
        branch_layer: The layer V from hidden units to features, `[d, h]`, without a bias.
        unit: Divisor of the centred features, `[1]`.

    Args:
        d: Number of features.
        hidden: Number of hidden units.
        k: Number of classes.
    """

    unit: Tensor

    def __init__(self, d: int, hidden: int, k: int) -> None:
        super().__init__(d, hidden, k)
        self.output_layer = nn.Linear(d, k)
        self.branch_layer = nn.Linear(hidden, d, bias=False)
        nn.init.zeros_(self.branch_layer.weight)
        self.register_buffer("unit", torch.ones(1))

    @classmethod
    def from_data(cls, data: Data, hidden: int = 256, seed: int = 0) -> ResidualHead:
        """Return a head for `data`; hidden weights are random, all others 0.

        The unit makes the mean squared distance between two rows, over the root of their width, 4.

        Args:
            data: Features `[n, d]`; unlabelled rows count for the standardization.
            hidden: Number of hidden units.
            seed: Seed of the weights.
        """
        shallow = Head.from_data(data, hidden, seed)
        head = cls(data.x.shape[1], hidden, data.k)
        state = shallow.state_dict()
        head.load_state_dict(
            {name: value for name, value in state.items() if "output" not in name}, strict=False
        )
        for parameter in head.output_layer.parameters():
            nn.init.zeros_(parameter)
        variance = float(np.asarray(data.x, np.float64).var(0).sum())
        head.unit.fill_((variance / (2 * data.x.shape[1] ** 0.5)) ** 0.5 or 1.0)
        return head

    def compute_hidden(self, x: Tensor) -> Tensor:
        """Return the embedding `[n, d]` of standardized features `[n, d]`."""
        branch: Tensor = self.branch_layer(super().compute_hidden(x))
        return x * (self.scale / self.unit) + branch
