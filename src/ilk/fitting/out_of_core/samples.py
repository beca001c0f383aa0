"""What rests on a sample of the images, and how far that may be from all of them, in words."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ilk.core.metrics import wilson_interval

SAMPLE_ROWS = 50_000  # training images that are tested in cross-validation


@dataclass(frozen=True)
class Samples:
    """Numbers of images behind the parts of a fit out of core.

    Attributes:
        n_train: Labelled training images, all of which the model is fitted to.
        n_tested: Those that cross-validation, calibration, sets and the detection of unknown images
            rest on.
        n_held_out: Held-out images, all of which are scored.
        n_shown: Those that the tables and pictures of the report are about.
        n_unlabelled: Unlabelled and novel images.
        n_searched: Those that are searched for unknown ones.
        accuracy: Cross-validated accuracy, nan if there is none.
        coverage: Target coverage of the sets.
    """

    n_train: int
    n_tested: int
    n_held_out: int
    n_shown: int
    n_unlabelled: int
    n_searched: int
    accuracy: float
    coverage: float

    @property
    def accuracy_margin(self) -> float:
        """Half the 95 % interval of the accuracy of the sample."""
        if not self.n_tested or not np.isfinite(self.accuracy):
            return float("nan")
        interval = wilson_interval(self.accuracy * self.n_tested, self.n_tested)
        return (interval.high - interval.low) / 2

    @property
    def coverage_margin(self) -> float:
        """Half the 95 % interval of the coverage that so many calibrating images give."""
        spread = self.coverage * (1 - self.coverage) / max(1, self.n_tested)
        return float(1.96 * np.sqrt(spread))

    def describe(self) -> list[str]:
        """Return the sentences of the log and the report."""
        sentences = []
        if 0 < self.n_tested < self.n_train:
            sentences.append(
                f"cross-validation, calibration, prediction sets and the detection of unknown "
                f"images are based on {self.n_tested:,} of {self.n_train:,} training images, "
                "drawn at "
                "random in proportion to the classes, with models of all images outside their "
                "fold: "
                f"the accuracy is known to ± {100 * self.accuracy_margin:.1f} points and the "
                f"coverage of the sets to ± {100 * self.coverage_margin:.1f}; suspect labels are "
                "searched for among these images"
            )
        if 0 < self.n_shown < self.n_held_out:
            sentences.append(
                f"all {self.n_held_out:,} held-out images are scored; tables and examples of the "
                f"report are those of {self.n_shown:,} of them, drawn in the same way"
            )
        if self.n_searched < self.n_unlabelled:
            sentences.append(
                f"{self.n_searched:,} of {self.n_unlabelled:,} images without a known class were "
                "searched for unknown ones"
            )
        return sentences

    def to_json(self) -> dict[str, Any]:
        """Return numbers and margins as JSON values."""
        margins = {
            "accuracy_margin": self.accuracy_margin,
            "coverage_margin": self.coverage_margin,
        }
        values = {**asdict(self), **margins}
        return {
            name: None if isinstance(value, float) and not np.isfinite(value) else value
            for name, value in values.items()
        }
