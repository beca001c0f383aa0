"""Apply a function to many items with one thread per core, in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from ilk.core.progress import Advance

T = TypeVar("T")
U = TypeVar("U")
BATCH_SIZE = 64  # files per task: large enough to amortize the queue, small enough for progress
MAX_PENDING_BATCHES = 16  # tasks in flight; decode results are cached after as many


def map_threaded(function: Callable[[T], U], items: Sequence[T], advance: Advance) -> Iterator[U]:
    """Apply `function` to each item, in order, with one thread per core; can be interrupted."""
    threads = os.cpu_count() or 1
    batches = (items[i : i + BATCH_SIZE] for i in range(0, len(items), BATCH_SIZE))
    pool = ThreadPoolExecutor(threads)
    try:
        yield from _map_in_order(
            pool, lambda batch: [function(item) for item in batch], batches, advance
        )
    finally:
        pool.shutdown(cancel_futures=True)


def _map_in_order(
    pool: ThreadPoolExecutor,
    function: Callable[[Sequence[T]], list[U]],
    batches: Iterator[Sequence[T]],
    advance: Advance,
) -> Iterator[U]:
    pending = deque(pool.submit(function, batch) for batch in islice(batches, MAX_PENDING_BATCHES))
    while pending:
        results = pending.popleft().result()
        pending.extend(pool.submit(function, batch) for batch in islice(batches, 1))
        yield from results
        advance(len(results))
