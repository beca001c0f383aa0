"""Cores of this machine, and torch kept to one per thread."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def count_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1


@contextmanager
def limit_torch_threads() -> Iterator[Callable[[], None]]:
    """Return a thread initializer that limits torch to one core per thread."""
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else 1
    try:
        yield lambda: torch.set_num_threads(1) if torch else None
    finally:
        if torch:
            torch.set_num_threads(before)
