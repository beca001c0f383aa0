"""`Step`: a training part and a test part."""

from __future__ import annotations

from dataclasses import dataclass

from ilk.core.data import Data, Labels


@dataclass(frozen=True, eq=False)
class Step:
    """Train on `train`, test on `test`.

    Attributes:
        train: Training rows.
        test: Test rows with their true labels.
        test_rows: Positions of the test rows in the data that was split, `[len(test)]` int64.
        warm_start: Update the model of the previous step instead of fitting a new one.
    """

    train: Data
    test: Data
    test_rows: Labels
    warm_start: bool = False
