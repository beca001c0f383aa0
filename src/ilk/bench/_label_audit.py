"""The audit of labels: does it find planted errors, and foretell what repairs change?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.bench._family import table
from ilk.bench._noisy_heads import Rows, right
from ilk.data import Data, Labels
from ilk.evaluate import cross_validate, stratified_folds
from ilk.methods.gda import GDA
from ilk.methods.k_nearest import KNearest
from ilk.methods.logistic_regression import LogisticRegression
from ilk.metrics import Probabilities
from ilk.models import Method
from ilk.trust.audit import effect
from ilk.trust.calibrate import cross_fitted
from ilk.trust.suspects import RANKINGS, Suspects

FOLDS = 5
JUDGES: dict[str, Method] = {
    "GDA": GDA(),
    "KNearest": KNearest(),
    "LogisticRegression": LogisticRegression(folds=3),
}

Flags = NDArray[np.bool_]
Spoil = Callable[[Data, int], Data]


def out_of_fold(method: Method, data: Data, seed: int) -> Probabilities:
    """Calibrated probabilities of each row from models that did not see it, as `ilk audit` does."""
    fold = stratified_folds(data.y, FOLDS, seed)
    return cross_fitted(cross_validate(method, data, fold).logits, data.y, fold)


def position(order: Labels, n: int) -> NDArray[np.int64]:
    """Where each of `n` rows stands in a ranking."""
    place = np.empty(n, np.int64)
    place[order] = np.arange(len(order))
    return place


def area(place: NDArray[np.int64], wrong: Flags) -> float:
    """Chance that a wrong label stands before a right one (the area under the ROC)."""
    n, bad = len(place), int(wrong.sum())
    before = np.sum(n - 1 - place[wrong]) - bad * (bad - 1) / 2
    return float(before / (bad * (n - bad)))


def planted(where: str, cuts: Sequence[Rows], spoil: Spoil) -> dict[str, Any]:
    """How well each judge and ranking finds labels that are known to be wrong."""
    names = [f"{judge}, {by}" for judge in JUDGES for by in RANKINGS]
    runs: dict[str, list[float]] = {name: [] for name in names}
    for seed, rows in enumerate(cuts):
        noisy = spoil(rows.train, seed)
        wrong = noisy.y != rows.train.y
        for judge, method in JUDGES.items():
            p = out_of_fold(method, noisy, seed)
            for by in RANKINGS:
                place = position(Suspects.find(p, noisy.y, by).rows, len(noisy))
                runs[f"{judge}, {by}"].append(area(place, wrong))
    return table(where, "area under the ROC of planted wrong labels", runs, ())


def best(tables: Iterable[dict[str, Any]]) -> str:
    """The judge and ranking with the greatest area, mean over sets of planted errors."""
    total: dict[str, float] = {}
    for told in tables:
        for row in told["scores"]:
            total[row["method"]] = total.get(row["method"], 0.0) + row["score"]["mean"]
    return max(total, key=lambda name: total[name])


def forecast(
    where: str, cuts: Sequence[Rows], spoil: Spoil, shares: Sequence[float], by: str
) -> list[dict[str, Any]]:
    """What the audit says that repairs change, beside what they change on clean rows."""
    says: dict[str, list[float]] = {}
    does: dict[str, list[float]] = {}
    for seed, rows in enumerate(cuts):
        noisy = spoil(rows.train, seed)
        fold = stratified_folds(noisy.y, FOLDS, seed)
        told = effect(GDA(), noisy, fold, shares, by)
        found = Suspects.find(out_of_fold(GDA(), noisy, seed), noisy.y, by)
        before = right(GDA().fit(noisy), rows.test)
        for one in told.cleaned:
            worst = found.rows[: round(one.share * len(noisy))]
            y = noisy.y.copy()
            y[worst] = found.suggested[: len(worst)]
            kept = np.setdiff1d(np.arange(len(noisy)), worst)
            for what, scores, data in (
                ("dropped", one.removed, noisy.rows(kept)),
                ("relabelled", one.relabelled, replace(noisy, y=y)),
            ):
                name = f"worst {one.share:.0%} {what}"
                gain = scores.accuracy.value - told.given.accuracy.value
                says.setdefault(name, []).append(gain)
                does.setdefault(name, []).append(right(GDA().fit(data), rows.test) - before)
    return [
        table(where, "change of accuracy that the audit tells", says, ()),
        table(where, "change of accuracy on clean test rows", does, ()),
    ]
