"""Finished parts of a benchmark, cached with the processor time that they took."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from benchmarks.diffusion_setup import load_or_compute


class MeasuredParts:
    """Parts that are computed once.

    Attributes:
        seconds: Processor seconds by part, those of a cached part from when it was computed.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.seconds: dict[str, float] = {}

    def compute(self, name: str, function: Callable[[], Any]) -> Any:
        """Return what `function` returns, from the cache if it is there."""

        def measure() -> dict[str, Any]:
            started_at = time.process_time()
            value = function()
            return {"value": value, "seconds": round(time.process_time() - started_at, 1)}

        part = load_or_compute(f"{self.prefix}-{name}", measure)
        self.seconds[name] = part["seconds"]
        return part["value"]
