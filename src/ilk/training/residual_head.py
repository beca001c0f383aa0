"""An embedding of frozen features that starts as the features themselves."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ilk.architectures.head import Head
from ilk.core.data import Data
from ilk.core.residual_mlp import ResidualMLP


class ResidualHead(Head):
    """`e(x) = (x - centre) / unit + V relu(U z + a)` with V 0 at the start, and z standardized `x`.

    Distances between embedded rows are those between features, up to one factor, until training
    changes them. The output layer is on the embedding; its weights are 0.

    Attributes:
        branch_layer: The layer V from hidden units to the embedding, without a bias.
        unit: Divisor of the centred features, `[]`.

    Args:
        d: Number of features.
        hidden: Number of hidden units.
        k: Number of classes.
    """

    unit: Tensor

    def __init__(self, d: int, hidden: int, k: int) -> None:
        super().__init__(d, hidden, k)
        self.branch_layer, self.output_layer = nn.Linear(hidden, d, bias=False), nn.Linear(d, k)
        for parameter in (self.branch_layer.weight, *self.output_layer.parameters()):
            nn.init.zeros_(parameter)
        self.register_buffer("unit", torch.ones(()))

    @classmethod
    def from_data(cls, data: Data, hidden: int = 256, seed: int = 0) -> ResidualHead:
        """Return a head for `data`, whose embedding is the features.

        The mean squared distance between two embedded rows is 4 times the root of their width.

        Args:
            data: Features `[n, d]`; unlabelled rows count for the standardization.
            hidden: Number of hidden units.
            seed: Seed of the hidden weights.
        """
        head, d = cls(data.x.shape[1], hidden, data.k), data.x.shape[1]
        shallow = Head.from_data(data, hidden, seed).state_dict()
        shared = {name: value for name, value in shallow.items() if "output" not in name}
        head.load_state_dict(shared, strict=False)
        variance = float(np.asarray(data.x, np.float64).var(0).sum())
        head.unit.fill_((0.5 * variance / d**0.5) ** 0.5 or 1.0)
        return head

    def compute_hidden(self, x: Tensor) -> Tensor:
        """Return the embedding `[n, d]` of standardized features `[n, d]`."""
        branch: Tensor = self.branch_layer(super().compute_hidden(x))
        return x * (self.scale / self.unit) + branch

    def to_model(self) -> ResidualMLP:
        """Return the head as a model of plain arrays, which can be saved."""
        plain = super().to_model()
        return ResidualMLP(
            plain.centre,
            plain.scale,
            plain.hidden_weight,
            plain.hidden_bias,
            plain.weight,
            plain.bias,
            self.branch_layer.weight.detach().cpu().numpy().astype(np.float32),
            self.unit.item(),
        )
