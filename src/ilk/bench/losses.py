"""Do losses drawn anew for each batch, and several dropout masks at once, make better heads?

EnsLoss: heads of 256 hidden units on 60 to 400 rows, far more weights than rows, so that every loss
can be driven to nothing. Binary sets: breast cancer (scikit-learn, 40 % to learn from), pairs of
scikit-learn's digits (30 rows a class) and of CIFAR-10 through MobileNetV2 (200 rows a class; test
rows of the official test part; features reduced to 64 principal axes of the training rows, turned
at random). Pairs are those often taken for each other, named before anything was run. Contenders
differ in the loss of a margin alone: EnsLoss, logistic, hinge, exponential, and EnsLoss without
order (the same random positive weights in any order, which is no convex loss). One recipe for all,
ten seeds, test accuracy of the head at the end, paired.

Multi-sample dropout: a head of 256 hidden units on 2,000 rows of MNIST (128 turned axes) and of
CIFAR-10 features (128), five seeds. For M masks: updates, and processor seconds on one thread
(those of an idle machine's clock), until the loss on the
training rows without dropout has come down to what M = 1 had half-way through a run of another
seed; the seconds of an update; the test error at the end. The rate of M = 1 and that of M = 8 were
chosen on 1,000 rows held out of the training part, once, by that other seed; the other M take the
rate of M = 8, and M = 1 stands there once more at that rate and at the lowest. The control repeats
every row M times under one mask each: the same loss, the hidden layer paid M times. A run that
never gets there counts all its updates.
"""

from __future__ import annotations

from typing import Any

from ilk.bench import _drawn_losses, _masks
from ilk.errors import Unavailable


def run(small: bool = False) -> dict[str, Any]:
    """Tables of both families, and the course of the loss as pictures; `small` has digits only."""
    tables: list[dict[str, Any]] = []
    plots: list[dict[str, Any]] = []
    left_out: list[str] = []
    rates: dict[str, dict[str, float]] = {}
    together = _drawn_losses.Together()
    for name in _drawn_losses.SETS[:1] if small else _drawn_losses.SETS:
        try:
            tables.append(together.of_set(name, *((2, 60) if small else (10,))))
        except Unavailable as error:
            left_out.append(f"{name}: {error}")
    tables.append(together.all())
    for name in ("digits",) if small else ("mnist", "cifar"):
        try:
            told = _masks.of_set(name, small)
        except Unavailable as error:
            left_out.append(f"{name}: {error}")
            continue
        tables += told.tables
        plots += told.plots
        rates[name] = told.rates
    return {"tables": tables, "plots": plots, "rates chosen": rates, "left out": left_out}
