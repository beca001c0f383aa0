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
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.claims import make_table
from benchmarks.runner import summarize
from benchmarks.several_labels.data import Draw, draw_digits, draw_mnist, draw_pacs
from ilk.core.contracts import Method
from ilk.core.data import Data
from ilk.core.errors import Unavailable
from ilk.core.progress import silent_progress
from ilk.fitting.multi_label_selection import rank_label_candidates
from ilk.maths.iterative_stratification import Targets
from ilk.methods import list_methods
from ilk.multilabel.calibration import LabelCalibration
from ilk.multilabel.metrics import compute_calibration_error
from ilk.multilabel.one_vs_rest import fit_one_vs_rest
from ilk.multilabel.thresholds import fit_thresholds

SPLITS = 5
GRID = [1e-2, 1e-1, 1.0, 10.0]
DEFAULT, SEARCHED = "scikit-learn, C = 1", "scikit-learn, C by grid search"


def run(small: bool = False) -> dict[str, Any]:
    """Return tables and paired differences; `small` takes one split of scikit-learn's digits."""
    if small:
        return _compare("pairs of digits, pixels", draw_digits, 1, 80, 200, GRID[:1])
    results: dict[str, Any] = {
        "tables": [],
        "differences": {},
        "seconds": {},
        "chosen": {},
        "left out": [],
    }
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
        results["chosen"] |= result["chosen"]
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
    chosen = []
    for seed in range(n_splits):
        data = draw(seed, n_train, n_test)
        answers = _fit_heads(data, seed)
        best = min(answers, key=lambda name: answers[name].sort_key)
        chosen.append(best)
        total = sum(answer.seconds for answer in answers.values())
        answers |= {
            "ilk": replace(answers[best], seconds=total),
            DEFAULT: _fit_sklearn(data, ()),
            SEARCHED: _fit_sklearn(data, grid),
        }
        for name, answer in answers.items():
            seconds.setdefault(name, []).append(answer.seconds)
            for metric, value in _score(data.test.targets, answer).items():
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
    return {
        "tables": tables,
        "differences": differences,
        "seconds": {setting: medians},
        "chosen": {setting: chosen},
    }


@dataclass(frozen=True, eq=False)
class Answer:
    """Predictions for the test part.

    Attributes:
        p: Probability of each label, `[n, k]`.
        predicted: Whether each label is predicted, `[n, k]`.
        seconds: Time of choosing hyperparameters, fitting and predicting.
        sort_key: Rank in cross-validation on the training part, lower is better.
    """

    p: NDArray[np.float64]
    predicted: Targets
    seconds: float
    sort_key: tuple[float, float] = (0.0, 0.0)


def _score(targets: Targets, answer: Answer) -> dict[str, float]:
    """Score test predictions by scikit-learn's metrics."""
    from sklearn.metrics import average_precision_score, f1_score

    f1 = f1_score(targets, answer.predicted, average="macro", zero_division=0)
    return {
        "mean average precision": float(average_precision_score(targets, answer.p)),
        "macro F1": float(f1),
        "calibration error": compute_calibration_error(targets.ravel(), answer.p.ravel()),
    }


def _fit_heads(data: Draw, seed: int) -> dict[str, Answer]:
    """Return the answer of each head, with its rank in the leaderboard of `ilk fit`."""
    kinds = list_methods().items()
    return {
        name: _fit_head(kind(), data, seed)
        for name, kind in kinds
        if kind.one_vs_rest and kind.default_candidate
    }


def _fit_head(method: Method, data: Draw, seed: int) -> Answer:
    started_at, targets = time.perf_counter(), data.train.targets
    train = Data(data.train.x, np.full(len(data.train.x), -1), ())
    board = rank_label_candidates(
        {"features": train}, targets, data.labels, [method], seed=seed, progress=silent_progress
    )
    calibration = LabelCalibration.fit(board.margins, targets)
    thresholds = fit_thresholds(targets, calibration.to_probabilities(board.margins))
    model = fit_one_vs_rest(method, train, targets)
    p = calibration.to_probabilities(model.margins(data.test.x))
    seconds = time.perf_counter() - started_at
    return Answer(p, p >= thresholds, seconds, board.results[0].sort_key)


def _fit_sklearn(data: Draw, grid: Sequence[float]) -> Answer:
    """Return the answer of one-against-rest logistic regression, which predicts above 0.5.

    Args:
        data: Training and test part.
        grid: Values of C to choose from; without any, C is 1.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.multiclass import OneVsRestClassifier

    started_at = time.perf_counter()
    model = OneVsRestClassifier(LogisticRegression(max_iter=500))
    if grid:
        model = GridSearchCV(model, {"estimator__C": grid}, scoring="average_precision", cv=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(data.train.x, data.train.targets.astype(int))
    p = np.asarray(model.predict_proba(data.test.x), np.float64)
    return Answer(p, p >= 0.5, time.perf_counter() - started_at)
