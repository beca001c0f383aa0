"""Optimizers: values passed to the trainer, which builds one over all parameter groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

from ilk.training.muon import Muon, group_parameters
from ilk.training.schedules import Schedule


@dataclass(frozen=True, eq=False)
class ParameterGroup:
    """Trainable parameters of a module, and how they are updated.

    Attributes:
        module: The module; its parameters without gradients are left out.
        lr: Highest learning rate; None takes that of the recipe.
        weight_decay: Decoupled weight decay; None takes that of the recipe.
        schedule: Learning-rate schedule; None takes that of the recipe.
        scale: Factor of the learning rate, > 0.
    """

    module: nn.Module
    lr: float | None = None
    weight_decay: float | None = None
    schedule: Schedule | None = None
    scale: float = 1.0

    def describe(self, lr: float, weight_decay: float, schedule: Schedule) -> dict[str, Any]:
        """Return the settings of this group for PyTorch, with defaults from the recipe."""
        highest = (lr if self.lr is None else self.lr) * self.scale
        return {
            "lr": highest,
            "highest_lr": highest,
            "weight_decay": weight_decay if self.weight_decay is None else self.weight_decay,
            "schedule": schedule if self.schedule is None else self.schedule,
        }


class OptimizerConfig(Protocol):
    """Settings of an optimizer; a frozen dataclass, so that a checkpoint can record them."""

    def build(
        self, groups: Sequence[ParameterGroup], lr: float, weight_decay: float, schedule: Schedule
    ) -> torch.optim.Optimizer:
        """Return an optimizer over `groups`; the other arguments are defaults of a group."""
        ...


@dataclass(frozen=True)
class MuonAdamW:
    """Muon for weight matrices, AdamW for all other parameters; see `ilk.training.muon`."""

    def build(
        self, groups: Sequence[ParameterGroup], lr: float, weight_decay: float, schedule: Schedule
    ) -> torch.optim.Optimizer:
        """Return the optimizer; see `OptimizerConfig`."""
        return Muon(
            [
                {**part, **group.describe(lr, weight_decay, schedule)}
                for group in groups
                for part in group_parameters(group.module)
            ],
            lr,
            weight_decay,
        )


@dataclass(frozen=True)
class AdamW:
    """AdamW (Loshchilov and Hutter, 2019, arXiv 1711.05101).

    Attributes:
        betas: Decay rates of the two moments, each in [0, 1).
        epsilon: Added to the denominator, > 0.
    """

    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8

    def build(
        self, groups: Sequence[ParameterGroup], lr: float, weight_decay: float, schedule: Schedule
    ) -> torch.optim.Optimizer:
        """Return the optimizer; see `OptimizerConfig`."""
        parts = _list_groups(groups, lr, weight_decay, schedule)
        return torch.optim.AdamW(parts, lr, self.betas, self.epsilon)


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent with momentum.

    Attributes:
        momentum: Momentum, in [0, 1).
        nesterov: Use Nesterov's momentum.
    """

    momentum: float = 0.9
    nesterov: bool = True

    def build(
        self, groups: Sequence[ParameterGroup], lr: float, weight_decay: float, schedule: Schedule
    ) -> torch.optim.Optimizer:
        """Return the optimizer; see `OptimizerConfig`."""
        parts = _list_groups(groups, lr, weight_decay, schedule)
        return torch.optim.SGD(parts, lr, self.momentum, nesterov=self.nesterov)


def _list_groups(
    groups: Sequence[ParameterGroup], lr: float, weight_decay: float, schedule: Schedule
) -> list[dict[str, Any]]:
    return [
        {
            "params": [p for p in group.module.parameters() if p.requires_grad],
            **group.describe(lr, weight_decay, schedule),
        }
        for group in groups
    ]


def set_learning_rates(optimizer: torch.optim.Optimizer, step: int, steps: int) -> None:
    """Set the learning rate of each parameter group for update `step` (from 0) of `steps`."""
    for group in optimizer.param_groups:
        group["lr"] = group["schedule"].compute_lr(group["highest_lr"], step, steps)
