"""Apply a function to many items with one thread per core, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import TypeVar

from ilk.core.cores import count_cores
from ilk.core.progress import Advance
from ilk.core.worker_threads import WorkerThreads

T = TypeVar("T")
U = TypeVar("U")
BATCH_SIZE = 64  # files per task: large enough to amortize the queue, small enough for progress
MAX_PENDING_BATCHES = 16  # tasks in flight; decode results are cached after as many


def map_threaded(
    function: Callable[[T], U],
    items: Sequence[T],
    advance: Advance,
    batch_size: int | None = None,
) -> Iterator[U]:
    """Apply `function` to each item, in order, with one thread per core; can be interrupted.

    Args:
        function: Called once per item.
        items: The items.
        advance: Called with the number of items that were done since the last call.
        batch_size: Items per task, >= 1; None for `BATCH_SIZE`.
    """
    batch_size = BATCH_SIZE if batch_size is None else batch_size
    batches = (items[i : i + batch_size] for i in range(0, len(items), batch_size))
    n_threads = min(count_cores(), -(-len(items) // batch_size))
    with WorkerThreads(n_threads, "images") as pool:
        yield from _map_in_order(
            pool, lambda batch: [function(item) for item in batch], batches, advance
        )


def _map_in_order(
    pool: WorkerThreads,
    function: Callable[[Sequence[T]], list[U]],
    batches: Iterator[Sequence[T]],
    advance: Advance,
) -> Iterator[U]:
    calls = (partial(function, batch) for batch in batches)
    pending = deque(pool.submit(call) for call in islice(calls, MAX_PENDING_BATCHES))
    while pending:
        results = pool.get_result(pending.popleft())
        pending.extend(pool.submit(call) for call in islice(calls, 1))
        yield from results
        advance(len(results))
