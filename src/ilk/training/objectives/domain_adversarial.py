"""Domain-adversarial training: a domain classifier behind a reversed gradient.

Yaroslav Ganin and others, 2016, Domain-Adversarial Training of Neural Networks, arXiv 1505.07818.
Forward, the reversal is the identity; backward, it multiplies the gradient by `-strength`, so that
the layers below it ascend the loss that the classifier above it descends. `strength` is scheduled
over the run: `lambda_p = 2 / (1 + exp(-10 p)) - 1` at progress p.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ilk.architectures.head import Head
from ilk.training.batch import Batch
from ilk.training.losses import mean_cross_entropy
from ilk.training.objective import Objective, TrainingStep, unwrap
from ilk.training.sources import Source

HIDDEN_UNITS = 64  # hidden units of the domain classifier


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * grad, None


def reverse_gradient(x: Tensor, strength: float) -> Tensor:
    """Return `x` (same shape); its gradient is multiplied by `-strength`."""
    output: Tensor = _Reversal.apply(x, strength)  # type: ignore[no-untyped-call]
    return output


def schedule_strength(progress: float) -> float:
    """Return lambda_p, which rises from 0 to 1 as `progress` p does."""
    return 2 / (1 + math.exp(-10 * progress)) - 1


class DomainAdversarial(Objective):
    """Cross-entropy of labelled rows (the source), and the domain loss of all rows.

    Rows without a label are the target domain. The network is a `Head`; the domain classifier
    reads its hidden units and is a parameter of the objective.

    Args:
        strength: Highest weight of the reversed gradient, >= 0.
        seed: Seed of the domain classifier's weights.
    """

    domain_classifier: nn.Module

    def __init__(self, strength: float = 1.0, seed: int = 0) -> None:
        super().__init__()
        self.strength, self.seed = strength, seed

    def setup(self, network: nn.Module, data: Source) -> None:
        head = unwrap(network, Head)
        layer, k = head.hidden_layer, len(head.present)
        hidden = layer.out_features
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            Head(
                layer.in_features, hidden, k
            )  # the classifier's weights follow those of the head in the stream
            self.domain_classifier = nn.Sequential(
                nn.Linear(hidden, HIDDEN_UNITS), nn.ReLU(), nn.Linear(HIDDEN_UNITS, 1)
            )

    def forward(self, network: nn.Module, batch: Batch, step: TrainingStep) -> Tensor:
        head = unwrap(network, Head)
        hidden, is_labelled = head.compute_hidden(batch.x), batch.y >= 0
        strength = self.strength * schedule_strength(step.progress)
        loss = self.compute_domain_loss(hidden, ~is_labelled, strength)
        if is_labelled.any():
            weight = None if batch.weight is None else batch.weight[is_labelled]
            logits = head.compute_logits(hidden[is_labelled])
            loss = loss + mean_cross_entropy(logits, batch.y[is_labelled], weight)
        return loss

    def compute_domain_loss(self, hidden: Tensor, is_target: Tensor, strength: float) -> Tensor:
        """Return the mean log loss of the domain classifier, a scalar, each domain counted half.

        Args:
            hidden: Hidden units, `[n, h]`.
            is_target: Which rows belong to the target domain, `[n]` bool. The loss is 0 where all
                rows belong to one domain.
            strength: Weight of the reversed gradient.
        """
        if is_target.all() or not is_target.any():
            return hidden.sum() * 0.0
        logit = self.domain_classifier(reverse_gradient(hidden, strength))[:, 0]
        losses = functional.binary_cross_entropy_with_logits(
            logit, is_target.to(logit.dtype), reduction="none"
        )
        return (losses[is_target].mean() + losses[~is_target].mean()) / 2
