"""What is measured of a map beside insertion and deletion, from masks that are known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ilk.explain.contract import Map
from ilk.explain.subject import Subject

LEVELS = (0.0, 0.5, 0.85)  # quantiles of a map below which it is set to 0


def measure_pointing(values: Map, mask: NDArray[np.bool_]) -> float:
    """Return whether the largest value lies in the mask, the mean over ties."""
    return float(mask[values == values.max()].mean())


def measure_mass(values: Map, mask: NDArray[np.bool_]) -> float:
    """Return the part of the positive values in the mask over its part of the area; 1 is chance."""
    support = np.maximum(values, 0)
    total = float(support.sum())
    return float(support[mask].sum() / total / mask.mean()) if total else 1.0


def measure_confidence(subject: Subject, values: Map) -> list[tuple[float, float, float]]:
    """Return the drop, whether confidence rose, and the mean of the map, at each level.

    Average drop and increase in confidence of the image times the map, scaled to [0, 1], as in
    T-TAME (IEEE Access 2024); what is not kept has the mean colour.
    """
    width = float(np.ptp(values)) or 1.0
    scaled = (values - values.min()) / width
    masks = np.stack([np.where(scaled >= np.quantile(scaled, q), scaled, 0.0) for q in LEVELS])
    answers = subject.score_masks(masks, "mean")
    y = max(subject.value, 1e-9)
    return [
        (100 * max(0.0, y - float(a)) / y, 100 * float(a > y), float(mask.mean()))
        for a, mask in zip(answers, masks, strict=True)
    ]
