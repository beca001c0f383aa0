"""Are one-against-rest heads, chosen by cross-validation, as good as scikit-learn's?

Images with several labels: two pictures side by side (MNIST digits through HOG, PACS pictures of
four styles through MobileNetV2), each place empty with probability 0.2, so that none, one or two
labels apply. Training and test parts share no picture. On the same features:

- `ilk`: what `ilk fit --multi-label` does, that is the heads below, chosen by the mean average
  precision of iteratively stratified 5-fold cross-validation on the training part;
- each head alone;
- `OneVsRestClassifier(LogisticRegression())` of scikit-learn with its default C = 1, and with C
  from four values by 3-fold grid search for the mean average precision.

Tables hold the mean average precision, the macro F1 (thresholds of the greatest out-of-fold F1
against 0.5) and the calibration error on the test part, by split. Nothing was chosen on test
labels.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.claims import make_table
from benchmarks.runner import summarize
from benchmarks.several_labels.data import Draw, draw_digits, draw_mnist, draw_pacs
from ilk.core.data import Data
from ilk.core.errors import Unavailable
from ilk.core.progress import silent_progress
from ilk.fitting.multi_label_selection import rank_label_candidates
from ilk.maths.iterative_stratification import Targets
from ilk.methods import list_methods, parse
from ilk.multilabel.calibration import LabelCalibration
from ilk.multilabel.metrics import compute_calibration_error
from ilk.multilabel.one_vs_rest import fit_one_vs_rest
from ilk.multilabel.thresholds import fit_thresholds

SPLITS = 5
GRID = [1e-2, 1e-1, 1.0, 10.0]
DEFAULT, SEARCHED = "scikit-learn, C = 1", "scikit-learn, C by grid search"

Probabilities = NDArray[np.float64]


def run(small: bool = False) -> dict[str, Any]:
    """Return tables and paired differences; `small` takes one split of scikit-learn's digits."""
    if small:
        return _compare("pairs of digits, pixels", draw_digits, 1, 80, 200, GRID[:1])
    results: dict[str, Any] = {"tables": [], "differences": {}, "seconds": {}, "left out": []}
    for setting, draw, n_train in (
        ("pairs of MNIST digits, HOG, 300 images", draw_mnist, 300),
        ("pairs of PACS pictures, MobileNetV2, 300 images", draw_pacs, 300),
    ):
        try:
            result = _compare(setting, draw, SPLITS, n_train, 800, GRID)
        except Unavailable as missing:
            results["left out"].append(str(missing))
            continue
        results["tables"] += result["tables"]
        results["differences"] |= result["differences"]
        results["seconds"] |= result["seconds"]
    return results


def _compare(
    setting: str,
    draw: Callable[[int, int, int], Draw],
    n_splits: int,
    n_train: int,
    n_test: int,
    grid: list[float],
) -> dict[str, Any]:
    """Return the tables of one setting, and `ilk` minus both baselines, split by split."""
    by_metric: dict[str, dict[str, list[float]]] = {}
    seconds: dict[str, list[float]] = {}
    for seed in range(n_splits):
        data = draw(seed, n_train, n_test)
        for name, fit in _list_competitors(grid).items():
            started_at = time.perf_counter()
            p, predicted = fit(data, seed)
            seconds.setdefault(name, []).append(time.perf_counter() - started_at)
            for metric, value in _score(data.test.targets, p, predicted).items():
                by_metric.setdefault(metric, {}).setdefault(name, []).append(value)
    differences = {
        f"{setting}: {metric}, ilk minus {baseline}": summarize(
            [a - b for a, b in zip(scores["ilk"], scores[baseline], strict=True)]
        )
        for metric, scores in by_metric.items()
        for baseline in (DEFAULT, SEARCHED)
    }
    tables = [
        make_table(setting, metric, scores, (), "lower" if "error" in metric else "higher")
        for metric, scores in by_metric.items()
    ]
    medians = {name: float(np.median(values)) for name, values in seconds.items()}
    return {"tables": tables, "differences": differences, "seconds": {setting: medians}}


def _score(targets: Targets, p: Probabilities, predicted: Targets) -> dict[str, float]:
    """Score test predictions by scikit-learn's metrics."""
    from sklearn.metrics import average_precision_score, f1_score

    return {
        "mean average precision": float(average_precision_score(targets, p)),
        "macro F1": float(f1_score(targets, predicted, average="macro", zero_division=0)),
        "calibration error": compute_calibration_error(targets.ravel(), p.ravel()),
    }


def _list_competitors(
    grid: list[float],
) -> dict[str, Callable[[Draw, int], tuple[Probabilities, Targets]]]:
    heads = [
        name for name, kind in list_methods().items() if kind.one_vs_rest and kind.default_candidate
    ]
    return {
        "ilk": partial(_fit_ilk, heads=heads),
        **{name: partial(_fit_ilk, heads=[name]) for name in heads},
        DEFAULT: lambda data, _seed: _fit_sklearn(data, ()),
        SEARCHED: lambda data, _seed: _fit_sklearn(data, grid),
    }


def _fit_ilk(data: Draw, seed: int, heads: list[str]) -> tuple[Probabilities, Targets]:
    """Return test probabilities and predictions of the best of `heads`."""
    train = Data(data.train.x, np.full(len(data.train.x), -1), ())
    board = rank_label_candidates(
        {"features": train},
        data.train.targets,
        data.labels,
        [parse(name) for name in heads],
        seed=seed,
        progress=silent_progress,
    )
    calibration = LabelCalibration.fit(board.margins, data.train.targets)
    thresholds = fit_thresholds(data.train.targets, calibration.to_probabilities(board.margins))
    model = fit_one_vs_rest(board.winner[1], train, data.train.targets)
    p = calibration.to_probabilities(model.margins(data.test.x))
    return p, p >= thresholds


def _fit_sklearn(data: Draw, grid: Sequence[float]) -> tuple[Probabilities, Targets]:
    """Return test probabilities of one-against-rest logistic regression, and those above 0.5.

    Args:
        data: Training and test part.
        grid: Values of C to choose from; without any, C is 1.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.multiclass import OneVsRestClassifier

    model = OneVsRestClassifier(LogisticRegression(max_iter=500))
    if grid:
        model = GridSearchCV(model, {"estimator__C": grid}, scoring="average_precision", cv=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(data.train.x, data.train.targets.astype(int))
    p = np.asarray(model.predict_proba(data.test.x), np.float64)
    return p, p >= 0.5
