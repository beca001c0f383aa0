"""Processor time of updates, apart from what a run does before the first."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ilk.core.progress import Advance, Progress

N_PROBED = 12  # updates that are timed


class UpdateClock:
    """A `Progress` that reads the processor time after every update.

    Attributes:
        seconds: Processor seconds of an update, without the first, which also sets up.
        setup_seconds: Those before the first update, such as of drawing images.
    """

    def __init__(self) -> None:
        self._started_at = time.process_time()
        self._marks: list[float] = []

    @contextmanager
    def __call__(self, _what: str, _total: int) -> Iterator[Advance]:
        yield lambda _n: self._marks.append(time.process_time())

    @property
    def seconds(self) -> float:
        return (self._marks[-1] - self._marks[0]) / (len(self._marks) - 1)

    @property
    def setup_seconds(self) -> float:
        return max(0.0, self._marks[0] - self._started_at - self.seconds)


def time_updates(train: Callable[[int, Progress], object]) -> UpdateClock:
    """Run `train(updates, progress)` for a few updates; return its clock."""
    clock = UpdateClock()
    train(N_PROBED, clock)
    return clock
