"""Calls made by one thread per core, with torch on one core in each."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import TypeVar

from ilk.core.cores import count_cores, limit_torch_threads
from ilk.core.worker_threads import Task, WorkerThreads

T = TypeVar("T")
TASKS_PER_THREAD = 3  # tasks per thread that are running, or done and not collected


def map_tasks(calls: Iterator[Callable[[], T]], n_threads: int | None = None) -> Iterator[T]:
    """Yield what calls return, in order, with few pending at any time.

    Args:
        calls: The calls, taken from the iterator as threads become free.
        n_threads: Number of threads; None is one per core.

    Raises:
        InputError: Several files in a row gave no answer.
    """
    threads = n_threads or count_cores()
    with limit_torch_threads() as start, WorkerThreads(threads, "encode", start) as pool:
        pending: deque[Task[T]] = deque()
        for call in calls:
            pending.append(pool.submit(call))
            if len(pending) >= TASKS_PER_THREAD * threads:
                yield pool.get_result(pending.popleft())
        while pending:
            yield pool.get_result(pending.popleft())
