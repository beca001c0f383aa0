"""What do two heads cost: GDA against one matrix product, logistic regression against scikit-learn?

- GDA on 50,000 x 768 float32 features of 100 classes against `X.T @ X` (numpy, symmetric product).
- Logistic regression with its regularisation path against `LogisticRegressionCV` (10 strengths, 5
  folds, lbfgs, held-out log loss) at its default of 100 iterations; on simulated 768-wide features
  and on scikit-learn's digits (there also at 1,000), by time and by log loss on held-out rows.

All are timed in turn in one process, with all threads; each figure is the median of the repeats.
`floor` is the arithmetic that no known algorithm avoids, at the speed of a large float32 product in
the same run; for logistic regression, the products of the steps that were taken.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Data, Labels
from ilk.core.metrics import log_loss, softmax
from ilk.maths.softmax_regression import SoftmaxRegressions
from ilk.methods.gda import GDA
from ilk.methods.logistic_regression import LogisticRegression

Array = NDArray[np.float32]


def run(small: bool = False) -> dict[str, Any]:
    """Run both comparisons; `small` takes seconds."""
    repeats = 2 if small else 5
    n, d, k = (2000, 64, 10) if small else (50_000, 768, 100)
    results: dict[str, Any] = {"gda": time_gda(n, d, k, repeats)}
    n, d, k = (400, 32, 5) if small else (10_000, 768, 20)
    splits = 1 if small else 3
    results["logistic_regression"] = {
        "simulated": time_regression(
            [simulate_classes(n, d, k, s) for s in range(splits)], with_1000=False
        ),
        "digits": time_regression(
            [read_digits(s) for s in range(1 if small else 8)], with_1000=not small
        ),
    }
    return results


def time_gda(n: int, d: int, k: int, repeats: int) -> dict[str, Any]:
    """Time a GDA fit and one product, in turn."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, k, n)
    x = rng.standard_normal((n, d), dtype=np.float32)
    x += rng.standard_normal((k, d), dtype=np.float32)[y] + 1
    data = Data(x, y, tuple(map(str, range(k))))
    fit, product = [], []
    for _ in range(repeats):
        product.append(_time_call(lambda: x.T @ x)[0])
        fit.append(_time_call(lambda: GDA().fit(data))[0])
    floor = n * d * (d + 1) / _measure_speed()
    return {
        "n": n,
        "d": d,
        "classes": k,
        "fit_seconds": fit,
        "product_seconds": product,
        "fit_over_product": _median_ratio(fit, product),
        "floor_seconds": floor,
        "fit_over_floor": float(np.median(fit)) / floor,
    }


def simulate_classes(n: int, d: int, k: int, seed: int) -> tuple[Array, Labels, int]:
    """Draw overlapping Gaussian classes in features with falling variances; half for testing."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, k, 2 * n)
    means = 0.12 * np.sqrt(768 / d) * rng.standard_normal((k, d))
    mix = rng.standard_normal((d, d)) / np.sqrt(d) * np.linspace(2, 0.1, d)
    x = (means[y] + rng.standard_normal((2 * n, d))) @ mix
    return x.astype(np.float32), y, n


def read_digits(seed: int) -> tuple[Array, Labels, int]:
    """Read scikit-learn's digits in random order, 70 % for training."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(y))
    return x[order].astype(np.float32), y[order], int(0.7 * len(y))


def time_regression(sets: list[tuple[Array, Labels, int]], with_1000: bool) -> dict[str, Any]:
    """Time each data set and compute its log loss; `with_1000` adds 1,000 iterations."""
    fits: dict[str, Callable[[Array, Labels], Any]] = {
        "ilk": _fit_ilk,
        "scikit_learn": _make_sklearn_fit(100),
    }
    if with_1000:
        fits["scikit_learn_1000_iterations"] = _make_sklearn_fit(1000)
    seconds: dict[str, list[float]] = {name: [] for name in fits}
    loss: dict[str, list[float]] = {name: [] for name in fits}
    floor = []
    for x, y, n in sets:
        _fit_ilk(x[:n], y[:n])  # warms up and counts the work, untimed
        floor.append(_count_operations(x[:n], y[:n]) / _measure_speed())
        for name, fit_method in fits.items():
            elapsed, model = _time_call(partial(fit_method, x[:n], y[:n]))
            seconds[name].append(elapsed)
            loss[name].append(log_loss(y[n:], model(x[n:])))
    return {
        "shape": list(sets[0][0][: sets[0][2]].shape),
        "seconds": seconds,
        "log_loss": loss,
        "times_faster": {
            name: _median_ratio(seconds[name], seconds["ilk"]) for name in fits if name != "ilk"
        },
        "log_loss_over_theirs": {
            name: float(np.mean(loss["ilk"]) / np.mean(loss[name]))
            for name in fits
            if name != "ilk"
        },
        "seconds_over_floor": _median_ratio(seconds["ilk"], floor),
    }


def _fit_ilk(x: Array, y: Labels) -> Callable[[Array], Any]:
    data = Data(x, y, tuple(map(str, range(int(y.max()) + 1))))
    model = LogisticRegression().fit(data)
    return lambda new: softmax(model.logits(new), axis=1)


def _make_sklearn_fit(iterations: int) -> Callable[[Array, Labels], Any]:
    from sklearn.linear_model import LogisticRegressionCV

    def fit(x: Array, y: Labels) -> Any:
        with warnings.catch_warnings():  # its default of 100 iterations does not converge
            warnings.simplefilter("ignore")
            model = LogisticRegressionCV(
                Cs=10,
                cv=5,
                scoring="neg_log_loss",
                max_iter=iterations,
                l1_ratios=(0,),
                use_legacy_attributes=False,
            ).fit(x, y)
        return model.predict_proba

    return fit


def _count_operations(x: Array, y: Labels) -> float:
    """Return the floating-point operations of the matrix products in the steps of our fit."""
    operations = 0.0
    original = SoftmaxRegressions.evaluate

    def count_evaluate(self: SoftmaxRegressions, thetas: Any, fit_ids: Any, penalty: float) -> Any:
        nonlocal operations
        operations += 4.0 * thetas.size * len(self.y)
        return original(self, thetas, fit_ids, penalty)

    SoftmaxRegressions.evaluate = count_evaluate  # type: ignore[method-assign]
    try:
        _fit_ilk(x, y)
    finally:
        SoftmaxRegressions.evaluate = original  # type: ignore[method-assign]
    return operations


def _measure_speed(size: int = 2048) -> float:
    """Return operations per second of a large float32 product, best of three."""
    a = np.ones((size, size), np.float32)
    return 2.0 * size**3 / min(_time_call(lambda: a @ a)[0] for _ in range(3))


def _time_call(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def _median_ratio(numerators: list[float], denominators: list[float]) -> float:
    """Return the median of the ratios of figures measured in turn."""
    return float(np.median(np.array(numerators) / np.array(denominators)))
