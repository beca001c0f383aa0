"""Do random losses per batch, and several dropout masks at once, make better heads?

EnsLoss: heads of 256 hidden units on 60 to 400 rows, far more weights than rows, so that every loss
can be driven to zero. Binary data sets: breast cancer (scikit-learn, 40 % for training), pairs of
scikit-learn's digits (30 rows per class) and of CIFAR-10 through MobileNetV2 (200 rows per class;
test rows of the official test part; features reduced to 64 principal axes of the training rows,
randomly rotated). The pairs are often confused ones, named before anything was run. The methods
differ only in the loss of a margin: EnsLoss, logistic, hinge, exponential, and unordered EnsLoss
(the same random positive weights in any order, which is not a convex loss). One recipe for all, ten
seeds, test accuracy of the final head, paired.

Multi-sample dropout: a head of 256 hidden units on 2,000 rows of MNIST (128 rotated axes) and of
CIFAR-10 features (128), five seeds. For M masks: updates, and CPU seconds on one thread, until the
loss on the training rows without dropout reaches that of M = 1 half-way through a run of another
seed; the time per update; the final test error. The rates of M = 1 and M = 8 were chosen once, on
1,000 rows held out of the training part, by that other seed; the other M take the rate of M = 8,
and M = 1 is repeated at that rate and at the lowest. The control repeats every row M times under
one mask each: the same loss at M times the cost of the hidden layer. A run that never reaches the
loss counts all its updates.
"""

from __future__ import annotations

from typing import Any

from benchmarks.losses import dropout_masks, random_losses
from ilk.core.errors import Unavailable


def run(small: bool = False) -> dict[str, Any]:
    """Return the tables of both studies and plots of the loss; `small` has digits only."""
    tables: list[dict[str, Any]] = []
    plots: list[dict[str, Any]] = []
    left_out: list[str] = []
    rates: dict[str, dict[str, float]] = {}
    comparison = random_losses.LossComparison()
    for name in random_losses.DATASETS[:1] if small else random_losses.DATASETS:
        try:
            tables.append(comparison.compare_losses(name, *((2, 60) if small else (10,))))
        except Unavailable as error:
            left_out.append(f"{name}: {error}")
    tables.append(comparison.tabulate_mean())
    for name in ("digits",) if small else ("mnist", "cifar"):
        try:
            result = dropout_masks.compare_masks(name, small)
        except Unavailable as error:
            left_out.append(f"{name}: {error}")
            continue
        tables += result.tables
        plots += result.plots
        rates[name] = result.best_rates
    return {"tables": tables, "plots": plots, "selected rates": rates, "left out": left_out}
