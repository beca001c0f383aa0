"""The sum of the absolute weights, which draws small ones to zero.

Robert Tibshirani, 1996, Regression Shrinkage and Selection via the Lasso,
doi:10.1111/j.2517-6161.1996.tb02080.x.
"""

from __future__ import annotations

from torch import Tensor, nn

from ilk.training.batch import Batch
from ilk.training.objective import Objective, TrainingStep, unwrap


class Lasso(Objective):
    """`sum |w|` over the weights of linear layers and convolutions; add it to a loss.

    Biases, normalizations and embeddings are not penalized, as they are not pruned.
    """

    def forward(self, network: nn.Module, batch: Batch, step: TrainingStep) -> Tensor:
        total = batch.x.new_zeros(())
        for module in unwrap(network).modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                total = total + module.weight.abs().sum()
        return total
