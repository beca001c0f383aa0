"""Muon for matrices, AdamW for the rest, under one learning rate.

Keller Jordan and others, 2024, Muon: An optimizer for hidden layers in neural networks: the update
of a weight matrix is its momentum made orthogonal, `U V^T` of its singular value decomposition, by
five Newton-Schulz steps on a quintic. Jingyuan Liu and others, 2025, Muon is Scalable for LLM
Training, arXiv 2502.16982, eq. 4: times `0.2 sqrt(longer side)`, so that its numbers are of the
size that AdamW's have, and one learning rate serves both. Ilya Loshchilov and Frank Hutter, 2019,
Decoupled Weight Decay Regularization, arXiv 1711.05101.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

QUINTIC = (3.4445, -4.7750, 2.0315)  # drives singular values into about 0.7 to 1.2 in five steps
NARROW = 16  # a matrix with a side up to this has too few directions to be worth evening out
MOMENTUM, BETAS, TINY = 0.95, (0.9, 0.99), 1e-8


def orthogonal(matrix: Tensor, steps: int = 5) -> Tensor:
    """About the nearest matrix with singular values of 1, `[m, n]`."""
    a, b, c = QUINTIC
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    turned: Tensor = x.T if matrix.shape[0] > matrix.shape[1] else x
    return turned


def split(network: nn.Module) -> list[dict[str, Any]]:
    """The trainable weights of `network` in two groups: matrices, and the rest.

    A convolution counts as the matrix `[out, in * height * width]`. Tables of embeddings and
    narrow matrices (into or out of a few channels) belong to the rest.
    """
    tables = {id(m.weight) for m in network.modules() if isinstance(m, nn.Embedding)}
    groups: list[dict[str, Any]] = [
        {"params": [], "matrices": True},
        {"params": [], "matrices": False},
    ]
    for weight in network.parameters():
        sides = weight.flatten(1).shape if weight.dim() > 1 else (1,)
        matrix = min(sides) > NARROW and id(weight) not in tables
        if weight.requires_grad:
            groups[0 if matrix else 1]["params"].append(weight)
    return groups


class Muon(torch.optim.Optimizer):
    """See the module. `groups` as `split` makes them; `decay` is decoupled, for both."""

    def __init__(self, groups: list[dict[str, Any]], lr: float, decay: float = 0.0) -> None:
        super().__init__(groups, {"lr": lr, "decay": decay, "matrices": False})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Make one update from the gradients at hand."""
        if closure is not None:
            raise ValueError("Muon does not evaluate a loss; call backward() first")
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                turn = self._turned if group["matrices"] else self._scaled
                update = turn(weight, weight.grad)
                weight.mul_(1 - group["lr"] * group["decay"]).add_(update, alpha=-group["lr"])

    def _turned(self, weight: Tensor, slope: Tensor) -> Tensor:
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(weight)
        state["momentum"].lerp_(slope, 1 - MOMENTUM)
        ahead = slope.lerp(state["momentum"], MOMENTUM).flatten(1)  # Nesterov
        size = 0.2 * max(ahead.shape) ** 0.5
        update: Tensor = size * orthogonal(ahead).view_as(weight)
        return update

    def _scaled(self, weight: Tensor, slope: Tensor) -> Tensor:
        state = self.state[weight]
        if not state:
            state["step"] = torch.zeros(())
            state["mean"], state["square"] = torch.zeros_like(weight), torch.zeros_like(weight)
        state["step"] += 1
        t, (b1, b2) = float(state["step"]), BETAS
        state["mean"].lerp_(slope, 1 - b1)
        state["square"].mul_(b2).addcmul_(slope, slope, value=1 - b2)
        root = (state["square"] / (1 - b2**t)).sqrt_().add_(TINY)
        update: Tensor = state["mean"] / (1 - b1**t) / root
        return update
