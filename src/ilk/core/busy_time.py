"""How long the threads of a pool were busy, by kind of work."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class BusyTime:
    """Seconds by kind of work, as one thread measures them.

    Attributes:
        seconds: Seconds by name, such as "reading".
    """

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()

    @contextmanager
    def measure(self, what: str) -> Iterator[None]:
        """Add the seconds of a block to those of `what`."""
        started_at = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[what] += time.perf_counter() - started_at  # type: ignore[assignment]
