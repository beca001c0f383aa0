"""Naive Bayes against logistic regression, simulated: how do the rows needed grow with features?

The claim of arXiv 2302.02334: logarithmically for naive Bayes, linearly for logistic regression.
Gaussian classes at -1, 1 (and 2) in each of n features, half of them with variance n and half with
1, which both methods can model. Reported are the number of rows m after which the error under the
true Gaussians is within 0.01 of the Bayes error, to 5 %, in five samples, and the power of n that m
grows with: near 0 if logarithmic, near 1 if linear. Naive Bayes is the paper's (no floor), logistic
regression has C = 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.disc_vs_gen.run import METHODS, Values, make_points, summarize
from ilk.core.data import Data, Features

METHOD_NAMES = ("naive Bayes", "logistic regression, C = 1")
TOLERANCE = 0.01
N_SAMPLES = 20_000  # samples of the scores for the error of a classifier


def run(small: bool = False) -> dict[str, Any]:
    """Return the rows needed with 2 and 3 classes; `small` takes few features and two samples."""
    widths, repeats = ((32, 64, 128), 2) if small else ((100, 200, 400, 800), 5)
    results = {f"{k} classes": simulate(k, widths, repeats) for k in (2, 3)}
    return {**results, "plots": [make_plot(results["3 classes"]["needed"])]}


def simulate(k: int, widths: tuple[int, ...], repeats: int) -> dict[str, Any]:
    """Return the rows needed at each width, and the power of the width that they grow with."""
    rows_needed = {
        name: np.array(
            [[find_needed_rows(k, n, METHODS[name], s) for n in widths] for s in range(repeats)]
        )
        for name in METHOD_NAMES
    }
    records = [
        {"n": n, **{name: summarize(need[:, i]) for name, need in rows_needed.items()}}
        for i, n in enumerate(widths)
    ]
    powers = {
        name: summarize(np.polyfit(np.log(widths), np.log(counts).T, 1)[0])
        for name, counts in rows_needed.items()
    }
    return {"needed": records, "power": powers}


def find_needed_rows(k: int, n: int, method: Any, seed: int) -> int:
    """Return the smallest m, within 5 %, whose first rows of a sample are near the Bayes error."""
    variance = np.where(np.arange(n) % 2, 1.0, n)
    means = np.array([-1.0, 1.0, 2.0])[:k]
    weight, bias = np.outer(means, 1 / variance), -(means**2) * np.sum(1 / variance) / 2
    limit = compute_true_error(weight, bias, means, variance) + TOLERANCE
    low, high = k, 2 * k
    while (
        compute_true_error(*_fit_linear(method, means, variance, high, seed), means, variance)
        > limit
    ):
        low, high = high, 2 * high
    while high - low > max(1, 0.05 * high):
        middle = (low + high) // 2
        is_near = (
            compute_true_error(*_fit_linear(method, means, variance, middle, seed), means, variance)
            <= limit
        )
        low, high = (low, middle) if is_near else (middle, high)
    return high


def _fit_linear(
    method: Any, means: Values, variance: Values, m: int, seed: int
) -> tuple[Features, Features]:
    """Fit the first m rows of a sample that starts with one row of each class."""
    k, n = len(means), len(variance)
    labels, noise = (np.random.default_rng([seed, k, n, i]) for i in range(2))
    y = np.concatenate([np.arange(k), labels.integers(0, k, m - k)])
    x = means[y][:, None] + noise.standard_normal((m, n)) * np.sqrt(variance)
    model = method.fit(Data(x.astype(np.float32), y, tuple(map(str, range(k)))))
    return model.weight, model.bias


def compute_true_error(weight: Any, bias: Any, means: Values, variance: Values) -> float:
    """Return the error of a linear classifier under the true Gaussians."""
    weight, k = np.asarray(weight, np.float64), len(means)
    values, vectors = np.linalg.eigh((weight * variance) @ weight.T)
    z = np.random.default_rng(0).standard_normal((N_SAMPLES, k))
    noise = z @ (vectors * np.sqrt(np.maximum(values, 0))).T
    centres = np.outer(means, weight.sum(1)) + bias
    return float(np.mean([((c + noise).argmax(1) != i).mean() for i, c in enumerate(centres)]))


def make_plot(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a plot of rows needed over features, both on logarithmic axes."""
    return {
        "file": "disc_vs_gen_simulated.svg",
        "kind": "lines",
        "title": "Rows until within 0.01 of the Bayes error, 3 classes",
        "x": "features n",
        "y": "training rows needed",
        "series": {name: make_points(records, "n", name) for name in METHOD_NAMES},
        "log_x": True,
        "log_y": True,
    }
