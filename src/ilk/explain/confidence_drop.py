"""How confidence changes when an image is multiplied by a map: average drop and increase.

Aditya Chattopadhyay and others, 2018, Grad-CAM++, arXiv 1710.11063, section 4.1, at the levels of
T-TAME (Ntrougkas and others 2024, arXiv 2403.04523). With y the probability of the network's own
class and y' that of the image times the map,

    AD = 100 mean max(0, y - y') / y,     IC = 100 mean [y' > y]

A map of ones has AD 0, so compare maps at equal area: at level v, values below the v-quantile of
a map become 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ilk.explain.contract import Map

LEVELS = (0.0, 0.5, 0.85)


def measure_average_drop(
    before: NDArray[np.floating], after: NDArray[np.floating]
) -> tuple[float, float]:
    """Return average drop, in [0, 100], and increase in confidence, in [0, 100].

    Args:
        before: Probability of the network's own class for each image, `[n]`, > 0.
        after: The same for the image times its map, `[n]`.
    """
    drop = np.maximum(0, before - after) / before
    return 100 * float(drop.mean()), 100 * float((after > before).mean())


def keep_top(values: Map, level: float) -> Map:
    """Return a map `[h, w]` scaled to [0, 1], with values below its `level`-quantile set to 0."""
    low, high = float(values.min()), float(values.max())
    scaled = (values - low) / (high - low) if high > low else np.ones_like(values)
    if level > 0:
        scaled = np.where(scaled < np.quantile(scaled, level), 0, scaled)
    return np.asarray(scaled, np.float32)
