"""Do random losses per batch, and several dropout masks at once, make better heads?

EnsLoss: heads of 256 hidden units on 60 to 400 rows, far more weights than rows, so that every loss
can be driven to zero. Binary data sets: breast cancer (scikit-learn, 40 % for training), a pair of
scikit-learn's digits (30 rows per class), and pairs of notMNIST letters (pixels) and of CIFAR-10's
test part through MobileNetV2 (200 rows per class; the other rows are for the test; features reduced
to 64 principal axes of the training rows, randomly rotated). The pairs are often confused ones,
named before anything was run; notMNIST was not used before the method got the bound of its
derivatives and its changing power. The methods differ only in the loss of a margin: EnsLoss,
logistic, hinge, exponential, and unordered EnsLoss (the same random positive weights in any order,
which is not a convex loss). One recipe for all, ten seeds (200 to 209), test accuracy of the final
head, paired.

Multi-sample dropout: heads of one and of two hidden layers of 256 units on 2,000 rows of notMNIST,
and of two on CIFAR-10's test part through MobileNetV2 (128 rotated axes), five seeds (200 to 204).
For 8 masks against one: updates, and CPU seconds on one thread, until the loss on the training rows
without dropout reaches that of M = 1 half-way through a run of another seed; the time per update;
the final test error. The rates of M = 1 and M = 8 (0.2 or 0.5) were chosen once for each head, on
1,000 held-out rows, by that other seed. The control repeats every row 8 times under one mask each:
the same loss at 8 times the cost of the hidden layers. A run that never reaches the loss counts all
its updates.
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
    seeds, updates = (range(2), 60) if small else (random_losses.SEEDS, None)
    comparison = random_losses.LossComparison()
    for name in random_losses.DATASETS[:1] if small else random_losses.DATASETS:
        try:
            tables.append(comparison.compare_losses(name, seeds, updates))
        except Unavailable as error:
            left_out.append(f"{name}: {error}")
    tables.append(comparison.tabulate_mean())
    for name, depth in (("digits", 1), ("digits", 2)) if small else dropout_masks.CONDITIONS:
        try:
            result = dropout_masks.compare_masks(name, depth, small)
        except Unavailable as error:
            left_out.append(f"{name}: {error}")
            continue
        tables += result.tables
        plots += result.plots
        rates[f"{name}, depth {depth}"] = result.best_rates
    return {"tables": tables, "plots": plots, "selected rates": rates, "left out": left_out}
