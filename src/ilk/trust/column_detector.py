"""Out-of-distribution detection on the features of one encoder of several.

An ensemble may take raw pixels or gradients beside the features of a pretrained network. They help
to tell classes apart where the network is wrong, but unlike an unknown object they vary with
brightness and position, so that distances in all columns would hide what is unknown.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import ClassVar

import numpy as np

from ilk.core.data import Data, Features
from ilk.trust.out_of_distribution import NO_THRESHOLD, OutOfDistributionDetector, Vector


@dataclass(frozen=True, eq=False)
class ColumnDetector(OutOfDistributionDetector):
    """A detector that reads some columns of the features.

    Attributes:
        first: First of its columns; their number is the length of `centre`.
    """

    kind: ClassVar[str] = "column_detector"

    first: int = 0

    def score(self, x: Features) -> Vector:
        """Return scores `[n]` of features `[n, d]` of all encoders."""
        return super().score(self.select_columns(x))

    def select_columns(self, x: Features) -> Features:
        """Return the columns of features `[n, d]` that the detector reads."""
        return x[:, self.first : self.first + len(self.centre)]

    def with_mean(self, mean: Vector, index: int) -> OutOfDistributionDetector:
        """Return a copy with the mean `[d]` of one class set, as in the base class."""
        return super().with_mean(mean[self.first : self.first + len(self.centre)], index)

    @classmethod
    def from_detector(cls, detector: OutOfDistributionDetector, first: int) -> ColumnDetector:
        """Return a detector of the columns from `first` on."""
        values = {f.name: getattr(detector, f.name) for f in fields(OutOfDistributionDetector)}
        return cls(**{**values, "first": first})

    @classmethod
    def make_blind(cls, detector: OutOfDistributionDetector) -> ColumnDetector:
        """Return a detector without columns: every score is 0, and nothing is flagged."""
        empty = np.zeros(0, np.float32)
        return cls(
            empty,
            np.zeros((0, 0), np.float32),
            empty,
            np.zeros((1, 0), np.float32),
            threshold=NO_THRESHOLD,
            false_alarm=detector.false_alarm,
        )


def take_columns(data: Data, columns: tuple[int, int] | None) -> Data:
    """Return rows `[n, d]` with columns from the first to before the last; None is all."""
    return data if columns is None else replace(data, x=data.x[:, columns[0] : columns[1]])
