"""Quadratic penalty on weights that leave their start, scaled by their Fisher information.

James Kirkpatrick and others, 2017, Overcoming Catastrophic Forgetting in Neural Networks,
arXiv 1612.00796, equation 3: `sum_i F_i (w_i - w_i at the start)^2`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ilk.training.batch import Batch
from ilk.training.objective import Objective, TrainingStep, unwrap
from ilk.training.sources import Source


class QuadraticPenalty(Objective):
    """The penalty of a network, about its weights when training starts.

    Args:
        fisher: Fisher information by parameter name, each in the shape of its parameter; None is 1
            for all trainable parameters.
    """

    def __init__(self, fisher: Mapping[str, Tensor] | None = None) -> None:
        super().__init__()
        self.names = None if fisher is None else list(fisher)
        for i, value in enumerate(fisher.values() if fisher else ()):
            self.register_buffer(f"fisher_{i}", value)

    def setup(self, network: nn.Module, data: Source) -> None:
        parameters = dict(unwrap(network).named_parameters())
        if self.names is None:
            self.names = [name for name, p in parameters.items() if p.requires_grad]
            for i, name in enumerate(self.names):
                self.register_buffer(f"fisher_{i}", torch.ones_like(parameters[name]))
        for i, name in enumerate(self.names):
            self.register_buffer(f"start_{i}", parameters[name].detach().clone())

    def forward(self, network: nn.Module, batch: Batch, step: TrainingStep) -> Tensor:
        parameters, total = dict(unwrap(network).named_parameters()), batch.x.new_zeros(())
        for i, name in enumerate(self.names or ()):
            fisher, start = self.get_buffer(f"fisher_{i}"), self.get_buffer(f"start_{i}")
            total = total + (fisher * (parameters[name] - start) ** 2).sum()
        return total
