"""Naive Bayes against logistic regression, simulated: how do the rows needed grow with features?

The claim of arXiv 2302.02334: with the logarithm for naive Bayes, in a straight line for logistic
regression. Gaussian classes at -1, 1 (and 2) in each of n features, half of them with variance n
and half with 1, which both ways of learning can model. Told are the rows m after which the error on
the Gaussians themselves comes within 0.01 of the Bayes error, to 5 %, in five samples, and the
power of n that m grows with: near 0 where it is logarithmic, near 1 where it is linear. Naive Bayes
is the paper's (no floor), logistic regression has C = 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ilk.bench.disc_vs_gen import METHODS, Values, points, spread
from ilk.data import Data, Features

COMPARED = ("naive Bayes", "logistic regression, C = 1")
NEAR = 0.01
PARTS = 20_000  # draws of the scores, which make the error of a classifier


def run(small: bool = False) -> dict[str, Any]:
    """Rows needed with 2 and 3 classes; `small` takes few features and two samples."""
    widths, repeats = ((32, 64, 128), 2) if small else ((100, 200, 400, 800), 5)
    told = {f"{k} classes": simulation(k, widths, repeats) for k in (2, 3)}
    return {**told, "plots": [plot(told["3 classes"]["needed"])]}


def simulation(k: int, widths: tuple[int, ...], repeats: int) -> dict[str, Any]:
    """Rows needed at each width, and the power of the width that they grow with."""
    needs = {
        name: np.array([[needed(k, n, METHODS[name], s) for n in widths] for s in range(repeats)])
        for name in COMPARED
    }
    records = [
        {"n": n, **{name: spread(need[:, i]) for name, need in needs.items()}}
        for i, n in enumerate(widths)
    ]
    powers = {
        name: spread(np.polyfit(np.log(widths), np.log(need).T, 1)[0])
        for name, need in needs.items()
    }
    return {"needed": records, "power": powers}


def needed(k: int, n: int, method: Any, seed: int) -> int:
    """Least m, within 5 %, whose first rows of one sample bring the error near Bayes."""
    variance = np.where(np.arange(n) % 2, 1.0, n)
    means = np.array([-1.0, 1.0, 2.0])[:k]
    weight, bias = np.outer(means, 1 / variance), -(means**2) * np.sum(1 / variance) / 2
    limit = true_error(weight, bias, means, variance) + NEAR
    few, many = k, 2 * k
    while true_error(*_learnt(method, means, variance, many, seed), means, variance) > limit:
        few, many = many, 2 * many
    while many - few > max(1, 0.05 * many):
        middle = (few + many) // 2
        near = true_error(*_learnt(method, means, variance, middle, seed), means, variance) <= limit
        few, many = (few, middle) if near else (middle, many)
    return many


def _learnt(
    method: Any, means: Values, variance: Values, m: int, seed: int
) -> tuple[Features, Features]:
    """Weight and bias after the first m rows of a sample that starts with one of each class."""
    k, n = len(means), len(variance)
    labels, noise = (np.random.default_rng([seed, k, n, i]) for i in range(2))
    y = np.concatenate([np.arange(k), labels.integers(0, k, m - k)])
    x = means[y][:, None] + noise.standard_normal((m, n)) * np.sqrt(variance)
    model = method.fit(Data(x.astype(np.float32), y, tuple(map(str, range(k)))))
    return model.weight, model.bias


def true_error(weight: Any, bias: Any, means: Values, variance: Values) -> float:
    """Error of a linear classifier on the Gaussians themselves: its k scores are Gaussian too."""
    weight, k = np.asarray(weight, np.float64), len(means)
    values, vectors = np.linalg.eigh((weight * variance) @ weight.T)
    z = np.random.default_rng(0).standard_normal((PARTS, k))
    noise = z @ (vectors * np.sqrt(np.maximum(values, 0))).T
    centres = np.outer(means, weight.sum(1)) + bias
    return float(np.mean([((c + noise).argmax(1) != i).mean() for i, c in enumerate(centres)]))


def plot(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Rows needed over features, both on logarithmic axes."""
    return {
        "file": "disc_vs_gen_simulated.svg",
        "kind": "lines",
        "title": "Rows until within 0.01 of the Bayes error, 3 classes",
        "x": "features n",
        "y": "training rows needed",
        "series": {name: points(records, "n", name) for name in COMPARED},
        "log_x": True,
        "log_y": True,
    }
