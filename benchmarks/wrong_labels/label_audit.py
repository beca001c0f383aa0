"""The label audit: does it find planted errors, and predict the effect of repairs?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.claims import make_table
from benchmarks.wrong_labels.noisy_heads import NoisySplit, accuracy
from ilk.core.contracts import Method
from ilk.core.data import Data, Labels
from ilk.core.metrics import Probabilities
from ilk.fitting.cross_validation import cross_validate
from ilk.fitting.label_audit import measure_cleaning
from ilk.methods.gda import GDA
from ilk.methods.k_nearest import KNearest
from ilk.methods.logistic_regression import LogisticRegression
from ilk.protocols import stratified_folds
from ilk.trust.calibration import cross_calibrate
from ilk.trust.label_errors import RANKINGS, LabelErrors

N_FOLDS = 5
METHODS: dict[str, Method] = {
    "GDA": GDA(),
    "KNearest": KNearest(),
    "LogisticRegression": LogisticRegression(folds=3),
}

Flags = NDArray[np.bool_]
LabelNoise = Callable[[Data, int], Data]


def predict_out_of_fold(method: Method, data: Data, seed: int) -> Probabilities:
    """Return calibrated out-of-fold probabilities of each row, as `ilk audit` does."""
    fold = stratified_folds(data.y, N_FOLDS, seed)
    return cross_calibrate(cross_validate(method, data, fold).logits, data.y, fold)


def invert_ranking(ranking: Labels, n: int) -> NDArray[np.int64]:
    """Return the rank of each of `n` rows."""
    ranks = np.empty(n, np.int64)
    ranks[ranking] = np.arange(len(ranking))
    return ranks


def roc_auc(ranks: NDArray[np.int64], is_wrong: Flags) -> float:
    """Return the probability that a wrong label ranks before a correct one (ROC AUC)."""
    n, n_wrong = len(ranks), int(is_wrong.sum())
    before = np.sum(n - 1 - ranks[is_wrong]) - n_wrong * (n_wrong - 1) / 2
    return float(before / (n_wrong * (n - n_wrong)))


def tabulate_planted(
    setting: str, splits: Sequence[NoisySplit], corrupt: LabelNoise
) -> dict[str, Any]:
    """Tabulate how well each classifier and ranking finds labels that are known to be wrong."""
    names = [f"{method_name}, {ranking}" for method_name in METHODS for ranking in RANKINGS]
    runs: dict[str, list[float]] = {name: [] for name in names}
    for split in splits:
        seed, noisy = split.seed, corrupt(split.train, split.seed)
        is_wrong = noisy.y != split.train.y
        for judge, method in METHODS.items():
            p = predict_out_of_fold(method, noisy, seed)
            for by in RANKINGS:
                ranks = invert_ranking(LabelErrors.find(p, noisy.y, by).rows, len(noisy))
                runs[f"{judge}, {by}"].append(roc_auc(ranks, is_wrong))
    return make_table(setting, "area under the ROC of planted wrong labels", runs, ())


def select_best(tables: Iterable[dict[str, Any]]) -> str:
    """Return the classifier and ranking with the largest mean area over planted errors."""
    total: dict[str, float] = {}
    for result in tables:
        for row in result["scores"]:
            total[row["method"]] = total.get(row["method"], 0.0) + row["score"]["mean"]
    return max(total, key=lambda name: total[name])


def tabulate_forecast(
    setting: str,
    splits: Sequence[NoisySplit],
    corrupt: LabelNoise,
    fractions: Sequence[float],
    ranking: str,
) -> list[dict[str, Any]]:
    """Tabulate the predicted effect of repairs beside the effect on clean rows."""
    predicted: dict[str, list[float]] = {}
    actual: dict[str, list[float]] = {}
    for split in splits:
        seed, noisy = split.seed, corrupt(split.train, split.seed)
        fold = stratified_folds(noisy.y, N_FOLDS, seed)
        audit = measure_cleaning(GDA(), noisy, fold, fractions, ranking)
        suspects = LabelErrors.find(predict_out_of_fold(GDA(), noisy, seed), noisy.y, ranking)
        accuracy_before = accuracy(GDA().fit(noisy), split.test)
        for repair in audit.results:
            worst = suspects.rows[: round(repair.fraction * len(noisy))]
            y = noisy.y.copy()
            y[worst] = suspects.suggested_label[: len(worst)]
            remaining = np.setdiff1d(np.arange(len(noisy)), worst)
            for action, scores, data in (
                ("dropped", repair.removed, noisy.take(remaining)),
                ("relabelled", repair.relabelled, replace(noisy, y=y)),
            ):
                name = f"worst {repair.fraction:.0%} {action}"
                gain = scores.accuracy.value - audit.baseline.accuracy.value
                predicted.setdefault(name, []).append(gain)
                actual.setdefault(name, []).append(
                    accuracy(GDA().fit(data), split.test) - accuracy_before
                )
    return [
        make_table(setting, "change of accuracy predicted by the audit", predicted, ()),
        make_table(setting, "change of accuracy on clean test rows", actual, ()),
    ]
