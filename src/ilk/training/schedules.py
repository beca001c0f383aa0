"""Learning-rate schedules: values passed to the trainer, one per parameter group if needed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from ilk.core.errors import InputError


class Schedule(Protocol):
    """Learning rate over the run; a frozen dataclass, so that a checkpoint can record it."""

    def compute_lr(self, lr: float, step: int, steps: int) -> float:
        """Return the learning rate of update `step` (from 0) of `steps`, `lr` at its highest."""
        ...


def _check_warmup(warmup: int) -> None:
    if warmup < 0:
        raise InputError(f"warmup is {warmup}; it must be at least 0 updates")


@dataclass(frozen=True)
class Constant:
    """Linear warm-up, then a constant learning rate.

    Attributes:
        warmup: Updates of linear warm-up, >= 0.
    """

    warmup: int = 0

    def __post_init__(self) -> None:
        _check_warmup(self.warmup)

    def compute_lr(self, lr: float, step: int, steps: int) -> float:
        """Return the learning rate of update `step`; see `Schedule`."""
        return lr * min(1.0, (step + 1) / (self.warmup + 1))


@dataclass(frozen=True)
class LinearDecay:
    """Linear warm-up, then a linear decay to 0.

    Attributes:
        warmup: Updates of linear warm-up, >= 0.
    """

    warmup: int = 100

    def __post_init__(self) -> None:
        _check_warmup(self.warmup)

    def compute_lr(self, lr: float, step: int, steps: int) -> float:
        """Return the learning rate of update `step`; see `Schedule`."""
        remaining = 1 - max(step - self.warmup, 0) / max(steps - self.warmup, 1)
        return lr * min(1.0, (step + 1) / (self.warmup + 1)) * remaining


@dataclass(frozen=True)
class CosineDecay:
    """Linear warm-up, then half a cosine down to 0 (Loshchilov and Hutter, 2017, arXiv 1608.03983).

    Attributes:
        warmup: Updates of linear warm-up, >= 0.
    """

    warmup: int = 100

    def __post_init__(self) -> None:
        _check_warmup(self.warmup)

    def compute_lr(self, lr: float, step: int, steps: int) -> float:
        """Return the learning rate of update `step`; see `Schedule`."""
        elapsed = max(step - self.warmup, 0) / max(steps - self.warmup, 1)
        warm = min(1.0, (step + 1) / (self.warmup + 1))
        return lr * warm * 0.5 * (1 + math.cos(math.pi * elapsed))


@dataclass(frozen=True)
class StepDecay:
    """Learning rate multiplied by `factor` at each milestone.

    Attributes:
        milestones: Fractions of the run, increasing, each in (0, 1).
        factor: Multiplier at each milestone, in (0, 1].
    """

    milestones: tuple[float, ...] = (0.5, 0.75)
    factor: float = 0.1

    def __post_init__(self) -> None:
        if not all(0 < m < 1 for m in self.milestones) or not 0 < self.factor <= 1:
            raise InputError(
                f"milestones {self.milestones} must lie in (0, 1), factor {self.factor} in (0, 1]"
            )

    def compute_lr(self, lr: float, step: int, steps: int) -> float:
        """Return the learning rate of update `step`; see `Schedule`."""
        return lr * self.factor ** sum(step >= m * steps for m in self.milestones)
