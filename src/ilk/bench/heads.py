"""What two heads cost: GDA beside one matrix product, logistic regression beside scikit-learn.

- GDA on 50,000 x 768 float32 features of 100 classes against `X.T @ X` (numpy, symmetric product).
- Logistic regression with its path against `LogisticRegressionCV` (10 strengths, 5 folds, lbfgs,
  held-out log loss), at its default of 100 iterations; on simulated 768-wide features and on
  scikit-learn's digits (there at 1,000 too), by time and by log loss on rows that neither saw.

All are timed in turn, in one process, with as many threads as there are; each figure is the median
of the repeats. `floor` is the work that no way around is known to, at the speed of a large float32
product in the same run; for logistic regression, the products of the steps that were taken.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.data import Data, Labels
from ilk.maths.softmax import Regressions
from ilk.methods.gda import GDA
from ilk.methods.logistic_regression import LogisticRegression
from ilk.metrics import log_loss, softmax

Rows = NDArray[np.float32]


def run(small: bool = False) -> dict[str, Any]:
    """Both comparisons; `small` ends in seconds."""
    repeats = 2 if small else 5
    n, d, k = (2000, 64, 10) if small else (50_000, 768, 100)
    told: dict[str, Any] = {"gda": gda(n, d, k, repeats)}
    n, d, k = (400, 32, 5) if small else (10_000, 768, 20)
    splits = 1 if small else 3
    told["logistic_regression"] = {
        "simulated": regression([simulated(n, d, k, s) for s in range(splits)], full=False),
        "digits": regression([digits(s) for s in range(1 if small else 8)], full=not small),
    }
    return told


def gda(n: int, d: int, k: int, repeats: int) -> dict[str, Any]:
    """Seconds of a GDA fit and of one product, in turn."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, k, n)
    x = rng.standard_normal((n, d), dtype=np.float32)
    x += rng.standard_normal((k, d), dtype=np.float32)[y] + 1
    data = Data(x, y, tuple(map(str, range(k))))
    fit, product = [], []
    for _ in range(repeats):
        product.append(_seconds(lambda: x.T @ x)[0])
        fit.append(_seconds(lambda: GDA().fit(data))[0])
    floor = n * d * (d + 1) / _speed()
    return {
        "n": n,
        "d": d,
        "classes": k,
        "fit_seconds": fit,
        "product_seconds": product,
        "fit_over_product": _middle(fit, product),
        "floor_seconds": floor,
        "fit_over_floor": float(np.median(fit)) / floor,
    }


def simulated(n: int, d: int, k: int, seed: int) -> tuple[Rows, Labels, int]:
    """Gaussian classes that overlap, in features with falling variances, and half for testing."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, k, 2 * n)
    means = 0.12 * np.sqrt(768 / d) * rng.standard_normal((k, d))
    mix = rng.standard_normal((d, d)) / np.sqrt(d) * np.linspace(2, 0.1, d)
    x = (means[y] + rng.standard_normal((2 * n, d))) @ mix
    return x.astype(np.float32), y, n


def digits(seed: int) -> tuple[Rows, Labels, int]:
    """scikit-learn's digits in random order, 70 % for training."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(y))
    return x[order].astype(np.float32), y[order], int(0.7 * len(y))


def regression(sets: list[tuple[Rows, Labels, int]], full: bool) -> dict[str, Any]:
    """Seconds and held-out log loss on each set; `full` adds scikit-learn at 1,000 iterations."""
    ways: dict[str, Callable[[Rows, Labels], Any]] = {"ilk": _ours, "scikit_learn": _theirs(100)}
    if full:
        ways["scikit_learn_1000_iterations"] = _theirs(1000)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    loss: dict[str, list[float]] = {name: [] for name in ways}
    floor = []
    for x, y, n in sets:
        _ours(x[:n], y[:n])  # warms up; and tells the work, untimed
        floor.append(_work(x[:n], y[:n]) / _speed())
        for name, way in ways.items():
            spent, model = _seconds(partial(way, x[:n], y[:n]))
            seconds[name].append(spent)
            loss[name].append(log_loss(y[n:], model(x[n:])))
    return {
        "shape": list(sets[0][0][: sets[0][2]].shape),
        "seconds": seconds,
        "log_loss": loss,
        "times_faster": {
            name: _middle(seconds[name], seconds["ilk"]) for name in ways if name != "ilk"
        },
        "log_loss_over_theirs": {
            name: float(np.mean(loss["ilk"]) / np.mean(loss[name]))
            for name in ways
            if name != "ilk"
        },
        "seconds_over_floor": _middle(seconds["ilk"], floor),
    }


def _ours(x: Rows, y: Labels) -> Callable[[Rows], Any]:
    data = Data(x, y, tuple(map(str, range(int(y.max()) + 1))))
    model = LogisticRegression().fit(data)
    return lambda new: softmax(model.logits(new), axis=1)


def _theirs(iterations: int) -> Callable[[Rows, Labels], Any]:
    from sklearn.linear_model import LogisticRegressionCV

    def fit(x: Rows, y: Labels) -> Any:
        with warnings.catch_warnings():  # that 100 iterations did not converge is its default
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


def _work(x: Rows, y: Labels) -> float:
    """Floating-point operations of the matrix products in the steps that our fit takes."""
    done = 0.0
    taken = Regressions._evaluate

    def counted(self: Regressions, thetas: Any, which: Any, penalty: float) -> Any:
        nonlocal done
        done += 4.0 * thetas.size * len(self.y)
        return taken(self, thetas, which, penalty)

    Regressions._evaluate = counted  # type: ignore[method-assign]
    try:
        _ours(x, y)
    finally:
        Regressions._evaluate = taken  # type: ignore[method-assign]
    return done


def _speed(size: int = 2048) -> float:
    """Floating-point operations a second of a large float32 product: the best of three."""
    a = np.ones((size, size), np.float32)
    return 2.0 * size**3 / min(_seconds(lambda: a @ a)[0] for _ in range(3))


def _seconds(do: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    result = do()
    return time.perf_counter() - began, result


def _middle(above: list[float], below: list[float]) -> float:
    """Median of the quotients of figures taken in turn."""
    return float(np.median(np.array(above) / np.array(below)))
