"""How long several tasks take, compared within one run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from math import inf
from statistics import median


def time_in_turns(
    tasks: Sequence[Callable[[], object]],
    max_rounds: int,
    *,
    min_rounds: int = 1,
    max_seconds: float = inf,
) -> list[float]:
    """Return the median time of each task in seconds.

    Tasks take turns, so that a change of the machine's load concerns all of them alike.

    Args:
        tasks: What is timed; each has been called before, so that everything is loaded.
        max_rounds: Turns of each task, at most.
        min_rounds: Turns of each task, at least; >= 1.
        max_seconds: A task whose turns have taken longer than that in all has no more.
    """
    seconds: list[list[float]] = [[] for _ in tasks]
    for number in range(max_rounds):
        for task, times in zip(tasks, seconds, strict=True):
            if number >= min_rounds and sum(times) > max_seconds:
                continue
            start = time.perf_counter()
            task()
            times.append(time.perf_counter() - start)
    return [median(times) for times in seconds]
