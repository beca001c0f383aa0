"""Whether the rows of a stream may be learnt from: leaps, collapses, and a class that swallows all.

What a stream of rows without labels shows of itself: how like what is known its rows are, and how
its answers spread over the classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.data import Labels

NEAR = 5  # neighbours that tell how like the rest a row is
TAIL = 0.05  # the share of the rows learnt from that lie out of reach of the others
FAR = 0.25  # the most of a stream that may lie out of reach
TILT = 0.3  # the most that one class may gain of what was learnt from a stream
WINDOW, BATCH = 96, 32  # the last rows of a stream, and those that count as a batch at least
FEWEST = 16  # rows before there is anything to say of a stream


def likeness(cosines: NDArray[Any]) -> NDArray[np.float64]:
    """Mean of the `NEAR` largest of each row's cosines `[n, m]` (`-inf` is none), `[n]`."""
    near = min(NEAR, int(np.isfinite(cosines).sum(1).min(initial=NEAR)))
    return np.asarray(-np.sort(-cosines, axis=1)[:, :near].mean(1), np.float64)


def unfit(like: NDArray[np.float64], said: Labels, known: tuple[float, float], new: int) -> str:
    """Why nothing of the last `new` rows of a stream should be learnt; "" where they may be.

    Args:
        like: How like what is known the last rows are, `[r]`, oldest first.
        said: Their answers, `[r]`.
        known: Of the rows learnt from: the likeness that all but `TAIL` reach, and the largest
            share of a class.
        new: Rows of the batch that has just come.
    """
    reach, largest = known
    if len(said) < FEWEST:
        return f"only {len(said)} rows have come; {FEWEST} are needed to tell what they are like"
    below = like < reach
    far = max(float(below.mean()), float(below[-max(BATCH, new) :].mean()))
    if far > FAR:
        return f"{far:.0%} of the last rows lie far from all that is known"
    most = float(np.bincount(said).max() / len(said))
    if most > (1 + largest) / 2 or most == 1:
        return f"{most:.0%} of the last {len(said)} rows were answered one class: is it a collapse?"
    return ""


def tilt(now: Labels, first: Labels) -> float:
    """The most that a class has gained, as a share, from answers `first [n]` to `now [n]`."""
    k = int(max(now.max(), first.max())) + 1
    gained = np.bincount(now, minlength=k) - np.bincount(first, minlength=k)
    return float(gained.max() / len(now))
