"""`Step`: learn from one part, answer for the other."""

from __future__ import annotations

from dataclasses import dataclass

from ilk.data import Data, Labels


@dataclass(frozen=True, eq=False)
class Step:
    """Learn from `train`, answer for `test`.

    Attributes:
        rows: Where the test items stand in the data that was cut, `[len(test)]` int64.
        carry: Go on from the model of the step before, rather than afresh.
    """

    train: Data
    test: Data
    rows: Labels
    carry: bool = False
