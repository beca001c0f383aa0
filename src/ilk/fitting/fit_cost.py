"""What a cross-validation costs, estimated from counts alone.

Whether folds are repeated, and whether features are joined, must not depend on how busy the machine
is: the same images and the same seed give the same model. The estimate is in seconds of one core,
fitted to those of the methods that `ilk fit` tries by default (60 to 1,500 rows, 64 to 1,280
features, 3 to 100 classes), which it meets within a factor of about 3.
"""

from __future__ import annotations

from ilk.core.contracts import Method
from ilk.core.data import Data

CALL_SECONDS = 0.02  # of five folds, however small
CELL_SECONDS = 1e-7  # of logistic regression, for a row, a feature and a class
MIN_CLASSES = 10  # fewer do not make it faster
FOLDS = 5  # for which the constants hold


def estimate_seconds(method: Method, data: Data, n_folds: int, n_features: int = 0) -> float:
    """Return the seconds that cross-validation of `method` takes on a usual core.

    Infinite for methods that do not state their `fit_cost`.

    Args:
        method: The method.
        data: Rows; those without a label are not counted.
        n_folds: Number of folds.
        n_features: Number of features d; 0 for those of `data`.
    """
    n, d = int((data.y >= 0).sum()), n_features or data.x.shape[1]
    cells = n * d * max(MIN_CLASSES, len(data.classes))
    cost = float(getattr(method, "fit_cost", float("inf")))
    return n_folds / FOLDS * (CALL_SECONDS + cost * CELL_SECONDS * cells)
