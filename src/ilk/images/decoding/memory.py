"""Bound the memory of decoded images over all threads of a process.

A file of a few kilobytes may declare more than 100 million pixels, and every thread may meet one at
the same time. The bound is on pixels in flight: a thread that is about to decode waits until the
others have finished enough of theirs. One image alone is always let through.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition

from ilk.core.allocator import release_freed_memory

MAX_PIXELS_IN_FLIGHT = 64_000_000  # about 0.6 GB: 8 bytes per pixel of image and result, and strips
TRIMMED_PIXELS = MAX_PIXELS_IN_FLIGHT // 2  # images from this size leave no freed memory behind


class PixelBudget:
    """A number of pixels that several threads share.

    Args:
        limit: Pixels that may be decoded at the same time.
    """

    def __init__(self, limit: int = MAX_PIXELS_IN_FLIGHT) -> None:
        self.limit = limit
        self._in_flight = 0
        self._released = Condition()

    @contextmanager
    def reserve(self, n_pixels: int) -> Iterator[None]:
        """Wait until `n_pixels` fit into the budget, or nobody else uses it, and hold them."""
        with self._released:
            self._released.wait_for(
                lambda: self._in_flight == 0 or self._in_flight + n_pixels <= self.limit
            )
            self._in_flight += n_pixels
        try:
            yield
        finally:
            if n_pixels >= TRIMMED_PIXELS:
                release_freed_memory()
            with self._released:
                self._in_flight -= n_pixels
                self._released.notify_all()


pixel_budget = PixelBudget()
