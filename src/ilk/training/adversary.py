"""Features that do not tell where a row comes from: a domain adversary behind a reversed gradient.

Yaroslav Ganin and others, 2016, Domain-Adversarial Training of Neural Networks, arXiv 1505.07818.
Going forward the reversal is the identity; going back it multiplies by `-strength`. What is below
it then climbs the loss that what is above descends. `separability` says what is left to tell.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ilk.errors import InputError
from ilk.training.heads import Head

WIDTH = 64  # hidden units of the domain classifier


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * slope, None


def reverse(x: Tensor, strength: float) -> Tensor:
    """`x` itself; its gradient comes back times `-strength`."""
    turned: Tensor = _Reversal.apply(x, strength)  # type: ignore[no-untyped-call]
    return turned


def rising(progress: float) -> float:
    """The paper's lambda_p, `2 / (1 + exp(-10 p)) - 1`: from 0 to 1 as `progress` p does."""
    return 2 / (1 + math.exp(-10 * progress)) - 1


class Contested(Head):
    """A head whose hidden units a domain classifier reads too.

    Attributes:
        domain: Hidden units to one logit: above 0 where a row looks like the target.
        updates: Updates made so far, a scalar, so that the schedule survives a cut.
    """

    updates: Tensor

    def __init__(self, d: int, hidden: int, k: int) -> None:
        super().__init__(d, hidden, k)
        self.domain = nn.Sequential(nn.Linear(hidden, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 1))
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    def domain_loss(self, hidden: Tensor, target: Tensor, strength: float) -> Tensor:
        """Mean log loss of the domain classifier, source and target counting half each.

        `target [n]` is true where a row is the target's; 0 where a batch has rows of one side only.
        """
        if target.all() or not target.any():
            return hidden.sum() * 0.0
        logit = self.domain(reverse(hidden, strength))[:, 0]
        lost = functional.binary_cross_entropy_with_logits(
            logit, target.to(logit.dtype), reduction="none"
        )
        return (lost[target].mean() + lost[~target].mean()) / 2


def separability(source: Any, target: Any, seed: int = 0) -> float:
    """Share of rows whose domain a linear rule tells, each side counting half; 0.5 is chance.

    The rule is Fisher's, by least squares, from a random half of the rows; the other half is
    judged. The paper's proxy A-distance is `2 (1 - 2 (1 - share))`: see `proxy_distance`.

    Raises:
        InputError: A side has fewer than 4 rows.
    """
    if min(len(source), len(target)) < 4:
        raise InputError(
            f"{len(source)} and {len(target)} rows are too few to tell domains apart; give 4 each"
        )
    rng = np.random.default_rng(seed)
    sides = [np.asarray(side, np.float64)[rng.permutation(len(side))] for side in (source, target)]
    learn = [side[: len(side) // 2] for side in sides]
    weight, bias = _fisher(*learn)
    right = [
        np.mean((side[len(side) // 2 :] @ weight + bias > 0) == is_target)
        for side, is_target in zip(sides, (False, True), strict=True)
    ]
    return float(np.mean(right))


def proxy_distance(share: float) -> float:
    """The proxy A-distance of a share told rightly: 0 at chance or below, 2 where all are told."""
    return max(0.0, 2 * (2 * share - 1))


def _fisher(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """`x @ weight + bias` above 0 on the side of `b`, by the pooled covariance with a ridge."""
    centred = np.concatenate([a - a.mean(0), b - b.mean(0)])
    covariance = centred.T @ centred / len(centred)
    ridge = 1e-3 * np.trace(covariance) / len(covariance) + 1e-12
    weight = np.linalg.solve(covariance + ridge * np.eye(len(covariance)), b.mean(0) - a.mean(0))
    return weight, float(-weight @ (a.mean(0) + b.mean(0)) / 2)
