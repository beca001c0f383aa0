"""The second look: how well the pixels of one picture lie on those of another.

One picture, or its mirror image, is laid on the other in many sizes and slight turns, at every
place, and the normalized cross-correlation of their details is taken (John P. Lewis, 1995, Fast
Normalized Cross-Correlation): by Fourier transforms, with the sums of each window from integral
images. Details are what is left without the mean of the surroundings, so that two pictures with a
bright sky do not agree for that reason alone. The best placings are refined at a higher resolution
(`ilk.deduplication.refinement`). A cropped, mirrored, resized, recoloured or slightly turned copy
agrees nearly everywhere with some part of its original; different pictures do not.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ilk.deduplication.picture import COARSE_SIDE, SHAPE_STEP, Picture, Placing
from ilk.deduplication.refinement import NO_AGREEMENT, Agreement, refine

N_LEVEL, N_TURNED = 2, 1  # placings that are refined
TURNED_COST = 0.02  # of the correlation: a turned part leaves out the corners, where less agrees


def align(first: Picture, second: Picture) -> Agreement:
    """Return how well two pictures agree where they agree best, one as a part of the other."""
    if first.is_blank or second.is_blank:
        return NO_AGREEMENT
    found = [
        (score, part, whole, placing)
        for part, whole in ((first, second), (second, first))
        for score, placing in _search(part, whole)
    ]
    found.sort(key=lambda item: -item[0])
    level = [item for item in found if not item[3].turn][:N_LEVEL]
    turned = [item for item in found if item[3].turn][:N_TURNED]
    refined = [refine(part, whole, placing) for _, part, whole, placing in level + turned]
    best = max(refined, key=lambda a: a.correlation - TURNED_COST * (a.turn != 0))
    return best if best.correlation > 0 else NO_AGREEMENT


def _search(part: Picture, whole: Picture) -> list[tuple[float, Placing]]:
    """Return the best placings of one picture inside the other, and their correlation."""
    from scipy.fft import irfft2

    shape = round(float(np.log(part.aspect / whole.aspect)) / SHAPE_STEP)
    parts = part.get_parts(shape)
    products = irfft2(whole.spectrum * parts.spectrum, s=(COARSE_SIDE, COARSE_SIDE))
    scores = products * whole.get_openings(shape)[parts.size]
    flat = scores.reshape(len(scores), -1)
    place = flat.argmax(1)
    value = flat[np.arange(len(flat)), place]
    return [
        (
            float(value[i]),
            replace(
                parts.placings[i],
                top=int(place[i]) // COARSE_SIDE / COARSE_SIDE,
                left=int(place[i]) % COARSE_SIDE / COARSE_SIDE,
            ),
        )
        for i in _list_best(value, np.array([p.turn != 0 for p in parts.placings]))
    ]


def _list_best(value: NDArray[np.float32], is_turned: NDArray[np.bool_]) -> list[int]:
    """Return the positions of the best level and turned placings of `value [p]`."""
    order = np.argsort(-value, kind="stable")
    return [*order[~is_turned[order]][:N_LEVEL], *order[is_turned[order]][:N_TURNED]]
