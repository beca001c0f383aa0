"""A head of one hidden layer on frozen features."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ilk.core.data import Data
from ilk.core.linear_models import MLP


class Head(nn.Module):
    """A multilayer perceptron with one hidden layer, from standardized features to logits.

    Attributes:
        hidden_layer: Linear layer to the hidden units, before the rectifier.
        output_layer: Linear layer to the logits.
        centre: Mean of the features, `[d]`; `standardize` subtracts it.
        scale: Standard deviation of the features, `[d]`; `standardize` divides by it.
        present: Which classes have labelled rows, `[k]`. The logits of the others are -1e4, and
            `-inf` in the model made from the head.

    Args:
        d: Number of features.
        hidden: Number of hidden units.
        k: Number of classes.
    """

    centre: Tensor
    scale: Tensor
    present: Tensor

    def __init__(self, d: int, hidden: int, k: int) -> None:
        super().__init__()
        self.hidden_layer, self.output_layer = nn.Linear(d, hidden), nn.Linear(hidden, k)
        self.register_buffer("centre", torch.zeros(d))
        self.register_buffer("scale", torch.ones(d))
        self.register_buffer("present", torch.ones(k, dtype=torch.bool))

    @classmethod
    def from_data(cls, data: Data, hidden: int = 256, seed: int = 0) -> Head:
        """Return a head for `data`, with random weights.

        Args:
            data: Features `[n, d]`; unlabelled rows count for the standardization.
            hidden: Number of hidden units.
            seed: Seed of the weights.
        """
        present = data.count_labels() > 0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            head = cls(data.x.shape[1], hidden, data.k)
            torch.manual_seed(seed)  # so that a class without rows does not affect the others
            present_layer = nn.Linear(hidden, int(present.sum()))
        with torch.no_grad():
            head.output_layer.weight.zero_()[present] = present_layer.weight
            head.output_layer.bias.zero_()[present] = present_layer.bias
        x = np.asarray(data.x, np.float64)
        std = x.std(0)
        head.centre.copy_(torch.from_numpy(x.mean(0)))
        head.scale.copy_(torch.from_numpy(np.where(std > 1e-6 * std.max(), std, 1.0)))
        head.present.copy_(torch.from_numpy(present))
        return head

    def standardize(self, x: Tensor) -> Tensor:
        """Return features `[n, d]` standardized over the data that the head was made for."""
        return (x - self.centre) / self.scale

    def compute_hidden(self, x: Tensor) -> Tensor:
        """Return the rectified hidden units `[n, h]` of standardized features `[n, d]`."""
        return functional.relu(self.hidden_layer(x))

    def compute_logits(self, hidden: Tensor) -> Tensor:
        """Return logits `[n, k]` of hidden units `[n, h]`; -1e4 for classes not `present`."""
        return self.output_layer(hidden).masked_fill(~self.present, -1e4)  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        """Return logits `[n, k]` of standardized features `[n, d]`."""
        return self.compute_logits(self.compute_hidden(x))

    def to_model(self) -> MLP:
        """Return the head as a model of plain arrays, which can be saved."""

        def array(t: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
            return t.detach().cpu().numpy().astype(np.float32)

        present = self.present.cpu().numpy()
        return MLP(
            array(self.centre),
            array(self.scale),
            array(self.hidden_layer.weight),
            array(self.hidden_layer.bias),
            np.where(present[:, None], array(self.output_layer.weight), np.float32(0)),
            np.where(present, array(self.output_layer.bias), np.float32(-np.inf)),
        )
