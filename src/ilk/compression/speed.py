"""How much faster a compressed encoder is, in one run."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.timing import time_in_turns

MIN_SECONDS, MAX_ROUNDS = 1.5, 40


def compare_speeds(
    encoders: Mapping[str, Any], batch: NDArray[np.uint8], seconds: float = MIN_SECONDS
) -> dict[str, float]:
    """Return the median time of a batch by encoder, in seconds per image.

    Args:
        encoders: What encodes, by name.
        batch: Prepared images `[b, c, h, w]`.
        seconds: How long to measure, at least three rounds.
    """
    for encoder in encoders.values():
        encoder.embed(batch)  # loads it
    times = time_in_turns(
        [partial(encoder.embed, batch) for encoder in encoders.values()],
        MAX_ROUNDS,
        min_rounds=3,
        max_seconds=seconds / len(encoders),
    )
    return {name: value / len(batch) for name, value in zip(encoders, times, strict=True)}
