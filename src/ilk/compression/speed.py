"""How much faster a compressed encoder is: both in turns, in one run."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

MIN_SECONDS, MAX_ROUNDS = 1.5, 40


def compare_speeds(
    encoders: Mapping[str, Any], batch: NDArray[np.uint8], seconds: float = MIN_SECONDS
) -> dict[str, float]:
    """Return the median time of a batch by encoder, in seconds per image.

    Encoders take turns, so that what else the machine does slows all of them alike.

    Args:
        encoders: What encodes, by name.
        batch: Prepared images `[b, c, h, w]`.
        seconds: How long to measure, at least three rounds.
    """
    for encoder in encoders.values():
        encoder.embed(batch)  # loads it
    times: dict[str, list[float]] = {name: [] for name in encoders}
    end = time.perf_counter() + seconds
    for number in range(MAX_ROUNDS):
        if number >= 3 and time.perf_counter() > end:
            break
        for name, encoder in encoders.items():
            start = time.perf_counter()
            encoder.embed(batch)
            times[name].append(time.perf_counter() - start)
    return {name: float(np.median(values)) / len(batch) for name, values in times.items()}
