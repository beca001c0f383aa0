"""The score above which a detector flags an image, with a warning where there is none."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ilk.artifacts.detector import AnomalyDetector


def compute_threshold(detector: AnomalyDetector, effect: str = "") -> float | None:
    """Return the score above which an image is an anomaly; None, with a warning, if undefined.

    Args:
        detector: The detector.
        effect: What follows for the user; "" is what follows for the table of scores.
    """
    from ilk.maths.alarm_threshold import MAX_SCORE

    rate = detector.false_alarm
    threshold = detector.model.compute_threshold(rate)
    if threshold != MAX_SCORE:
        return threshold
    needed, n_normal = ceil(round(1 / rate - 1, 9)), detector.model.n_votes
    if not n_normal:
        effect = effect or "no image can be flagged, and the column `anomaly` stays empty"
        click.echo(
            "ilk: the detector has no scores of normal images that it was not fitted to: "
            f"{effect}; use the scores, or fit to images of at least two groups",
            err=True,
        )
        return None
    what = "groups of normal images" if len(detector.model.calibration_votes) else "normal images"
    effect = effect or (
        "no image can be flagged, and the column `anomaly` stays empty; use the scores, or pass "
        f"--false-alarm {ceil(1e3 / (n_normal + 1)) / 1e3:.3f} or more"
    )
    click.echo(
        f"ilk: a false-alarm rate of {rate:.2%} needs {needed:,} {what} and there were "
        f"{n_normal:,}: {effect}",
        err=True,
    )
    return None
