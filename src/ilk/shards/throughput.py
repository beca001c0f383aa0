"""How fast shards are encoded, what limits it, and what a million images cost."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from ilk.core.cores import count_cores

MILLION = 1_000_000
HOUR = 3600.0


@dataclass
class Throughput:
    """Images and busy seconds as they come; a `Meter` (see `ilk.shards.encode`).

    Attributes:
        total: Number of images of the run, those that are done already included.
        n_cores: Cores that work at the same time; 0 if unknown, as on a cluster.
    """

    total: int
    n_cores: int = field(default_factory=count_cores)
    n_new: int = 0
    n_present: int = 0
    seconds: Counter[str] = field(default_factory=Counter)
    started_at: float = field(default_factory=time.monotonic)
    _lock: Lock = field(default_factory=Lock, repr=False)

    def __call__(self, n: int, seconds: Mapping[str, float]) -> None:
        """Count images, and the busy seconds that they took; none if they were there."""
        with self._lock:
            self.seconds.update(seconds)
            if seconds:
                self.n_new += n
            else:
                self.n_present += n

    @property
    def n_done(self) -> int:
        """Number of images that are encoded or refused."""
        return self.n_new + self.n_present

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return max(time.monotonic() - self.started_at, 1e-9)

    @property
    def images_per_second(self) -> float:
        """New images per second so far."""
        return self.n_new / self.elapsed

    @property
    def seconds_left(self) -> float | None:
        """Seconds until all images are done at this rate; None before the first image."""
        rate = self.images_per_second
        return (self.total - self.n_done) / rate if rate else None

    @property
    def shares(self) -> dict[str, float]:
        """Share of the busy time by kind of work, largest first."""
        total = sum(self.seconds.values())
        return {k: s / total for k, s in self.seconds.most_common()} if total else {}

    @property
    def bottleneck(self) -> str:
        """The kind of work that takes most of the busy time, "" before the first image."""
        return next(iter(self.shares), "")

    @property
    def core_hours_per_million(self) -> float | None:
        """Busy hours of one core for a million images; None before the first image."""
        busy = sum(self.seconds.values())
        return busy / self.n_new * MILLION / HOUR if self.n_new else None

    def describe(self) -> str:
        """Return rate, time left and bottleneck as text for a line of progress."""
        left = self.seconds_left
        parts = [f"{self.n_done:,} of {self.total:,}", format_rate(self.images_per_second)]
        if left is not None:
            parts.append(f"about {format_rounded_seconds(left)} left")
        if self.bottleneck:
            share = self.shares[self.bottleneck]
            parts.append(f"mostly {self.bottleneck} ({100 * share:.0f} %)")
        return ", ".join(parts)

    def to_json(self) -> dict[str, Any]:
        """Return all figures as plain values."""
        return {
            "images": self.n_done,
            "encoded_now": self.n_new,
            "seconds": self.elapsed,
            "images_per_second": self.images_per_second,
            "cores": self.n_cores or None,
            "busy_seconds": dict(self.seconds),
            "bottleneck": self.bottleneck or None,
            "core_hours_per_million": self.core_hours_per_million,
        }


def format_rate(rate: float) -> str:
    """Return images per second as text, to two digits where they are few.

    >>> format_rate(0.44), format_rate(1234.5)
    ('0.44 images/s', '1,234 images/s')
    """
    return f"{rate:,.0f} images/s" if rate >= 10 or not rate else f"{rate:.2g} images/s"


def format_rounded_seconds(seconds: float) -> str:
    """Return a duration in one unit, as an estimate is told.

    >>> [format_rounded_seconds(seconds) for seconds in (42, 600, 90_000)]
    ['42 s', '10 min', '25 h']
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 2 * HOUR else f"{seconds / HOUR:.0f} h"
