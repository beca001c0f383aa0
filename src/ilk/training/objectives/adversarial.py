"""Adversarial training: the loss of the worst images within a distance of the given ones.

Aleksander Madry, Aleksandar Makelov, Ludwig Schmidt, Dimitris Tsipras, Adrian Vladu, 2018, Towards
Deep Learning Models Resistant to Adversarial Attacks, arXiv 1706.06083, eq. 2.1 and section 4.

    loss = mean_i CE(f(x_i + d_i), y_i)
    d_i: projected gradient ascent of that loss over |d| <= eps (l2, or the largest entry), in
    `n_steps` steps of eps/2, from a random start
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from ilk.core.errors import InputError
from ilk.training.batch import Batch
from ilk.training.losses import mean_cross_entropy
from ilk.training.objective import Objective, TrainingStep

Norm = Literal["l2", "linf"]
NORMS = ("l2", "linf")
TINY = 1e-12  # a gradient that is shorter gives no direction


class Adversarial(Objective):
    """Cross-entropy at adversarial rows within `eps` of the given ones; all rows are labelled.

    Args:
        eps: Distance, >= 0, in units of the input; 0 is plain cross-entropy.
        norm: `l2`, or `linf` for the largest entry.
        n_steps: Steps of the attack, >= 1.
    """

    def __init__(self, eps: float = 1.0, norm: Norm = "l2", n_steps: int = 5) -> None:
        super().__init__()
        if norm not in NORMS or eps < 0 or n_steps < 1:
            raise InputError(
                f"eps {eps} must be at least 0, n_steps {n_steps} at least 1, "
                f"and norm {norm!r} one of {' and '.join(NORMS)}"
            )
        self.eps, self.norm, self.n_steps = eps, norm, n_steps

    def forward(self, network: nn.Module, batch: Batch, step: TrainingStep) -> Tensor:
        x = batch.x
        if self.eps > 0:
            x = attack(network, x, batch.y, self.eps, self.norm, self.n_steps, step.generator)
        return mean_cross_entropy(network(x), batch.y, batch.weight)


def attack(
    network: nn.Module,
    x: Tensor,
    y: Tensor,
    eps: float,
    norm: Norm = "l2",
    n_steps: int = 5,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return rows within `eps` of `x [n, ...]` whose loss is higher, by projected gradient ascent.

    Args:
        network: Gives logits `[n, k]`; its gradients are left as they are.
        x: Rows, `[n, ...]`.
        y: Their classes, `[n]`.
        eps: Distance, > 0.
        norm: How it is measured.
        n_steps: Steps, of `eps / 2` each.
        generator: Source of the random start; None starts at `x`.
    """
    start = torch.zeros_like(x)
    if generator is not None:
        start = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
        start = (
            _scale(start, norm)
            * eps
            * torch.rand(
                (len(x), *[1] * (x.ndim - 1)), generator=generator, device=x.device, dtype=x.dtype
            )
        )
    change = project(start, eps, norm)
    for _ in range(n_steps):
        change = change.detach().requires_grad_()
        with torch.enable_grad():
            loss = torch.nn.functional.cross_entropy(network(x + change), y, reduction="sum")
        [gradient] = torch.autograd.grad(loss, change)
        change = project(change.detach() + _scale(gradient, norm) * eps / 2, eps, norm)
    return x + change.detach()


def project(change: Tensor, eps: float, norm: Norm) -> Tensor:
    """Return `change [n, ...]` moved to the nearest point whose norm is at most `eps`."""
    if norm == "linf":
        return change.clamp(-eps, eps)
    return change * (eps / _measure_length(change).clamp(min=eps))


def _scale(direction: Tensor, norm: Norm) -> Tensor:
    """Return the steepest direction of norm 1 for each row."""
    if norm == "linf":
        return direction.sign()
    return direction / _measure_length(direction).clamp(min=TINY)


def _measure_length(rows: Tensor) -> Tensor:
    """Return the length of each row, with axes of 1 to divide by."""
    length: Tensor = rows.flatten(1).norm(dim=1)
    return length.reshape(-1, *[1] * (rows.ndim - 1))
