"""How many copies of a folder's pictures would be found, by the copies that were made of them."""

from __future__ import annotations

import numpy as np

from ilk.deduplication.calibration import Calibration
from ilk.deduplication.candidates import N_NEIGHBOURS
from ilk.deduplication.copies import COPIES
from ilk.deduplication.threshold import Threshold


def estimate_recall(calibration: Calibration, threshold: Threshold) -> dict[str, float]:
    """Return the share of copies of each kind that features and pixels would find, in [0, 1].

    A copy is found if its original is among the nearest pictures by features, similar enough, and
    scores above the threshold. Those that only their thumbnails show are not counted.
    """
    is_candidate = calibration.cosines >= calibration.min_cosine
    is_candidate &= calibration.ranks < N_NEIGHBOURS
    is_found = is_candidate & (calibration.copies >= threshold.score)
    kinds = np.array(calibration.kinds)
    return {kind: float(is_found[kinds == kind].mean()) for kind in COPIES if (kinds == kind).any()}
