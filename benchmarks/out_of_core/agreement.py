"""The same methods on the same rows, held in memory and read block by block."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.out_of_core.simulated import Simulation, write_shards
from ilk.core.data import Data
from ilk.core.metrics import log_softmax
from ilk.fitting.out_of_core.streamed_rows import StreamedRows, stream_rows
from ilk.maths.logistic_regression import RegressionResult, fit_regression
from ilk.maths.streamed_regression import fit_streamed_regression
from ilk.methods import parse
from ilk.protocols import stratified_folds
from ilk.shards.features import ShardedFeatures

METHODS = ("GDA()", "Ridge()", "NaiveBayes()", "NearestClassMean()")
REGRESSION = "LogisticRegression()"


def compare(folder: Path, n: int, k: int, seed: int) -> dict[str, Any]:
    """Return test accuracies and seconds of both fits of each method, and the regression's gap."""
    write_shards(folder, n, Simulation(k=k, seed=seed))
    features = ShardedFeatures.open(folder)
    test = np.flatnonzero(features.split == "test")
    x_test, y_test = features.take(test), features.y[test]
    stream = open_stream(features)
    held = Data(stream.take(np.arange(len(stream.y))), stream.y, stream.classes)
    out: dict[str, Any] = {"in memory": {}, "block by block": {}, "difference": {}, "seconds": {}}
    for text in METHODS:
        method: Any = parse(text)
        at = time.perf_counter()
        whole = method.fit(held).logits(x_test)
        between = time.perf_counter()
        streamed = method.fit_stream(stream).logits(x_test)
        out["seconds"][text] = {
            "in memory": between - at,
            "block by block": time.perf_counter() - between,
        }
        out["in memory"][text] = float((whole.argmax(1) == y_test).mean())
        out["block by block"][text] = float((streamed.argmax(1) == y_test).mean())
        p = [np.exp(log_softmax(logits, 1)) for logits in (whole, streamed)]
        out["difference"][text] = float(np.abs(p[0] - p[1]).max())
    out["gap"] = _compare_regressions(stream, held, x_test, y_test, out)
    return out


def open_stream(features: ShardedFeatures) -> StreamedRows:
    """Return the training rows of a shard folder as `ilk fit` streams them."""
    train = np.flatnonzero((features.split != "test") & features.is_used)
    y, group = features.y[train], np.full(len(train), -1)
    fold = stratified_folds(y, 5, 0)
    return stream_rows(features, train, y, group, features.classes, fold, 2**30)


def _compare_regressions(
    stream: StreamedRows,
    held: Data,
    x_test: NDArray[np.float32],
    y_test: NDArray[np.int64],
    out: dict[str, Any],
) -> dict[str, float]:
    """Fit the regression block by block and, with the same C, in memory to its own tolerance."""
    at = time.perf_counter()
    fitted = fit_streamed_regression(stream)
    between = time.perf_counter()
    full = fit_regression(held, fitted.result.C)
    out["seconds"][REGRESSION] = {
        "in memory, C given": time.perf_counter() - between,
        "block by block": between - at,
    }
    names = {"in memory": full, "block by block": fitted.result}
    for name, result in names.items():
        predictions = _score(result, x_test).argmax(1)
        out[name][REGRESSION] = float((predictions == y_test).mean())
    objective = {name: _measure_objective(result, held) for name, result in names.items()}
    return {
        "C": fitted.result.C,
        "passes": fitted.n_passes,
        "objective_in_memory": objective["in memory"],
        "actual": objective["block by block"] - objective["in memory"],
        "predicted": fitted.predicted_gap,
        "certain": fitted.certain_gap,
    }


def _score(result: RegressionResult, x: NDArray[np.float32]) -> NDArray[np.float64]:
    z = np.asarray(x, np.float64) - result.centre
    return np.asarray(z @ result.weight.T + result.bias)


def _measure_objective(result: RegressionResult, data: Data) -> float:
    """Return the mean objective of a row, in nats: log loss and penalty."""
    total = 0.0
    for start in range(0, len(data), 8192):
        rows = slice(start, start + 8192)
        own = log_softmax(_score(result, data.x[rows]), 1)
        y = data.y[rows]
        total -= float(own[np.arange(len(y)), y].sum())
    return (total + float((result.weight**2).sum()) / (2 * result.C)) / len(data)
