"""Early stopping: the best state of a run by a measure of rows that it does not train on.

Lutz Prechelt, 1998, Early Stopping - But When?, doi:10.1007/3-540-49430-8_3: the state of the best
measure is kept, and a run ends after `patience` measures in a row without a better one (his
criterion UP, counted from the best).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ilk.core.errors import InputError
from ilk.training import distributed
from ilk.training.ema import copy_state

WORST = torch.finfo(torch.float64).min  # what a measure that is not a number counts as
MODES = ("max", "min")


@dataclass(frozen=True)
class ValidationResult:
    """How a validated run ended.

    Attributes:
        value: The best measure.
        step: Number of updates made when it was taken; 0 is the network that was passed in.
        stopped_at: Number of updates of the whole run, at most those of the recipe.
        measures: Number of updates and measure, in order, the one before the first update included.
        note: A sentence for the user if the run ended before its time, else empty.
    """

    value: float
    step: int
    stopped_at: int
    measures: tuple[tuple[int, float], ...]
    note: str


@dataclass(frozen=True)
class Validation:
    """A measure that chooses the state to return and ends a run that no longer gains.

    The averaged network is measured, in evaluation mode: before the first update, after every
    `interval` updates and after the last. Of equal measures the first is kept.

    Attributes:
        measure: Returns the measure of a network; it must draw nothing that the next call depends
            on, so that a resumed run measures the same. With several processes, each calls it and
            that of the main process counts.
        interval: Updates between measures, >= 1.
        patience: Measures in a row without a better one after which the run ends, >= 1; None never
            ends it early.
        mode: "max" if higher is better, or "min".
        on_finish: Called once with the result, before `train` returns.
    """

    measure: Callable[[nn.Module], float]
    interval: int = 100
    patience: int | None = 5
    mode: str = "max"
    on_finish: Callable[[ValidationResult], None] | None = None

    def __post_init__(self) -> None:
        if self.interval < 1 or (self.patience is not None and self.patience < 1):
            raise InputError(
                f"interval {self.interval} and patience {self.patience} must be at least 1"
            )
        if self.mode not in MODES:
            raise InputError(f"mode is {self.mode!r}; write max or min")

    def describe(self) -> dict[str, Any]:
        """Return what a resumed run must share, as JSON."""
        return {"interval": self.interval, "patience": self.patience, "mode": self.mode}


class BestState(nn.Module):
    """The best network of a run and all measures; its buffers are its state, saved with the run.

    Args:
        validation: What is measured, and how often.
        average: The network that is measured.
        steps: Number of updates of the whole run.
    """

    measures: Tensor
    count: Tensor

    def __init__(self, validation: Validation, average: nn.Module, steps: int) -> None:
        super().__init__()
        self.validation = validation
        self.steps = steps
        self.network = copy.deepcopy(average)
        n_measures = 1 + math.ceil(steps / validation.interval)
        self.register_buffer("measures", torch.zeros(n_measures, dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def update(self, average: nn.Module, step: int) -> None:
        """Measure `average` after `step` updates if that is due, and keep it if it is the best."""
        number = math.ceil(step / self.validation.interval)
        is_due = step % self.validation.interval == 0 or step == self.steps
        if not is_due or number < int(self.count):  # measured before the run was interrupted
            return
        value = distributed.share_value(float(self.validation.measure(average)))
        signed = value if self.validation.mode == "max" else -value
        self.measures[number] = signed if math.isfinite(signed) else WORST
        self.count.fill_(number + 1)
        if self._find_best() == number:
            copy_state(self.network, average)

    @property
    def is_over(self) -> bool:
        """Whether the last `patience` measures brought no gain."""
        patience = self.validation.patience
        return patience is not None and int(self.count) - 1 - self._find_best() >= patience

    def finish(self, stopped_at: int, note: str = "") -> nn.Module:
        """Report the result and return the best network, in evaluation mode.

        Args:
            stopped_at: Number of updates made.
            note: Why the run ended, if not for the measures.
        """
        best, sign = self._find_best(), 1.0 if self.validation.mode == "max" else -1.0
        done = [min(i * self.validation.interval, self.steps) for i in range(int(self.count))]
        values = [math.nan if m == WORST else sign * m for m in self.measures.tolist()[: len(done)]]
        if note:
            note = f"{note}; the best state, that after update {done[best]}, was kept"
        elif self.is_over and stopped_at < self.steps:
            note = (
                f"training stopped after {stopped_at} of {self.steps} updates: the last "
                f"{self.validation.patience} evaluations brought no gain; the state after "
                f"{done[best]} was kept"
            )
        if self.validation.on_finish and distributed.is_main_process():
            curve = tuple(zip(done, values, strict=True))
            self.validation.on_finish(
                ValidationResult(values[best], done[best], stopped_at, curve, note)
            )
        return self.network

    def _find_best(self) -> int:
        return int(self.measures[: int(self.count)].argmax()) if int(self.count) else 0
