"""Muon for weight matrices, AdamW for all other parameters, with one learning rate.

Keller Jordan and others, 2024, Muon: An optimizer for hidden layers in neural networks: the update
of a weight matrix is its orthogonalized momentum, `U V^T` of its singular value decomposition, by
five Newton-Schulz steps with a quintic polynomial. Jingyuan Liu and others, 2025, Muon is Scalable
for LLM Training, arXiv 2502.16982, eq. 4: the update is scaled by `0.2 sqrt(longer side)`, to the
magnitude of AdamW's, so that one learning rate serves both. Ilya Loshchilov and Frank Hutter, 2019,
Decoupled Weight Decay Regularization, arXiv 1711.05101.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # singular values reach 0.7 to 1.2 in five steps
NARROW_SIDE = 16  # matrices with a side up to this are left to AdamW
MOMENTUM, BETAS, EPSILON = 0.95, (0.9, 0.99), 1e-8


def orthogonalize(matrix: Tensor, steps: int = 5) -> Tensor:
    """Return approximately the matrix nearest to `matrix [m, n]` whose singular values are 1."""
    a, b, c = NEWTON_SCHULZ
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    result: Tensor = x.T if matrix.shape[0] > matrix.shape[1] else x
    return result


def group_parameters(network: nn.Module) -> list[dict[str, Any]]:
    """Return the trainable parameters of `network` in two groups: matrices, and all others.

    A convolution counts as a matrix `[out, in * height * width]`. Embedding tables and narrow
    matrices (with few inputs or outputs) belong to the others.
    """
    embedding_ids = {id(m.weight) for m in network.modules() if isinstance(m, nn.Embedding)}
    groups: list[dict[str, Any]] = [
        {"params": [], "matrices": True},
        {"params": [], "matrices": False},
    ]
    for weight in network.parameters():
        shape = weight.flatten(1).shape if weight.dim() > 1 else (1,)
        is_matrix = min(shape) > NARROW_SIDE and id(weight) not in embedding_ids
        if weight.requires_grad:
            groups[0 if is_matrix else 1]["params"].append(weight)
    return groups


class Muon(torch.optim.Optimizer):
    """The optimizer; see the module. Weight decay is decoupled for both kinds of parameters.

    Args:
        groups: Parameter groups, as `group_parameters` returns them.
        lr: Learning rate.
        weight_decay: Weight decay.
    """

    def __init__(self, groups: list[dict[str, Any]], lr: float, weight_decay: float = 0.0) -> None:
        super().__init__(groups, {"lr": lr, "weight_decay": weight_decay, "matrices": False})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update all parameters from their gradients."""
        if closure is not None:
            raise ValueError("Muon does not evaluate a loss; call backward() first")
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                compute_update = self._orthogonal_update if group["matrices"] else self._adam_update
                update = compute_update(weight, weight.grad)
                weight.mul_(1 - group["lr"] * group["weight_decay"]).add_(
                    update, alpha=-group["lr"]
                )

    def _orthogonal_update(self, weight: Tensor, grad: Tensor) -> Tensor:
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(weight)
        state["momentum"].lerp_(grad, 1 - MOMENTUM)
        lookahead = grad.lerp(state["momentum"], MOMENTUM).flatten(1)  # Nesterov
        scale = 0.2 * max(lookahead.shape) ** 0.5
        update: Tensor = scale * orthogonalize(lookahead).view_as(weight)
        return update

    def _adam_update(self, weight: Tensor, grad: Tensor) -> Tensor:
        state = self.state[weight]
        if not state:
            state["step"] = torch.zeros(())
            state["mean"], state["square"] = torch.zeros_like(weight), torch.zeros_like(weight)
        state["step"] += 1
        t, (b1, b2) = float(state["step"]), BETAS
        state["mean"].lerp_(grad, 1 - b1)
        state["square"].mul_(b2).addcmul_(grad, grad, value=1 - b2)
        denominator = (state["square"] / (1 - b2**t)).sqrt_().add_(EPSILON)
        update: Tensor = state["mean"] / (1 - b1**t) / denominator
        return update
