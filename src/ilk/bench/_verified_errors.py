"""The audit on the CIFAR-10 test set, where people looked at 275 suspected label errors."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.bench import _sets, shared, spread
from ilk.bench._cifar_resnet import cifar_test
from ilk.bench._label_audit import FOLDS, Flags, area, out_of_fold, position
from ilk.data import Data, Labels
from ilk.evaluate import stratified_folds
from ilk.methods.gda import GDA
from ilk.methods.streaming_gda import StreamingGaussian, StreamingGDA
from ilk.metrics import Probabilities
from ilk.trust.calibrate import answerable, cross_fitted
from ilk.trust.suspects import Suspects

BUDGETS = (37, 100, 275, 500, 1000, 2000)  # images reviewed of the 10,000
AMONG = (28, 55, 110, 165, 220)  # of the 275: a tenth, a fifth, two fifths, …
ALONE, BESIDE = "GDA on ImageNet features", "GDA on ImageNet features, the training set beside"
KINDRED = "GDA on features of ResNet-20, trained on the training set"
PUBLISHED = "probabilities of Northcutt et al., by which the 275 were picked"
MOST = "most people chose another class, or none"


def verified(by: str, seeds: int) -> dict[str, Any]:
    """Errors of the CIFAR-10 test set that people verified, by review budget."""
    test = _sets.cifar("test")
    suspects, wrong = _sets.verdicts()
    truths = {MOST: wrong.astype(bool), "fewer than three of five people kept it": _lost()}
    orders = _orders(test, by, seeds)
    told: dict[str, Any] = {"ranking": by, "images": len(test), "suspects": len(suspects)}
    told["counts"] = [
        {"verdict": name, "errors": int(truth.sum()), "audits": _judged(orders, suspects, truth)}
        for name, truth in truths.items()
    ]
    return told


def _lost() -> Flags:
    """The published count: suspects whose given label fewer than three of five people kept."""
    path = shared("data", "cleanlab_label_errors", "cifar10_mturk.json")
    return np.array([one["mturk"]["given"] < 3 for one in json.loads(path.read_text())])


def _orders(test: Data, by: str, seeds: int) -> dict[str, list[NDArray[np.int64]]]:
    """Positions of the test rows in each audit, a seed each."""
    orders: dict[str, list[NDArray[np.int64]]] = {}

    def put(name: str, p: Probabilities) -> None:
        found = position(Suspects.find(p, test.y, by).rows, len(test))
        orders.setdefault(name, []).append(found)

    kindred = cifar_test()
    assert np.array_equal(kindred.y, test.y), "both stand class after class, by name"
    beside = StreamingGDA().fit(_sets.cifar("train"))
    for seed in range(seeds):
        put(ALONE, out_of_fold(GDA(), test, seed))
        put(BESIDE, _beside(beside, test, seed))
        put(KINDRED, out_of_fold(GDA(), kindred, seed))
        rng = np.random.default_rng(seed)
        orders.setdefault("random", []).append(rng.permutation(len(test)))
    held = shared("data", "cleanlab_label_errors")
    at = _sets.canonical(np.load(held / "cifar10_test_set_original_labels.npy"))
    put(PUBLISHED, np.load(held / "cifar10_test_set_pyx.npy").astype(np.float64)[at])
    return orders


def _beside(model: StreamingGaussian, test: Data, seed: int) -> Probabilities:
    """Out of fold, where every fold also learns from what `model` knows."""
    fold = stratified_folds(test.y, FOLDS, seed)
    logits = np.empty((len(test), test.k))
    for f in range(FOLDS):
        grown = StreamingGDA().update(model, test.rows(fold != f))
        logits[fold == f] = answerable(grown.logits(test.x[fold == f]))
    return cross_fitted(logits, test.y, fold)


def _judged(
    orders: dict[str, list[NDArray[np.int64]]], suspects: Labels, truth: Flags
) -> list[dict[str, Any]]:
    """Recall of the errors at each budget and areas, among all images and among the suspects."""
    told = []
    for name, places in orders.items():
        among = [np.argsort(np.argsort(place[suspects])) for place in places]
        flags = np.zeros(len(places[0]), bool)
        flags[suspects[truth]] = True
        told.append(
            {
                "audit": name,
                "recall": [
                    {"reviewed": b, "found": _mean(p[flags] < b for p in places)} for b in BUDGETS
                ],
                "area": spread([area(p, flags) for p in places]),
                "reviewed_for_80_percent": spread([_needed(p[flags]) for p in places]),
                "recall_among_suspects": [
                    {"reviewed": b, "found": _mean(a[truth] < b for a in among)} for b in AMONG
                ],
                "area_among_suspects": spread([area(a, truth) for a in among]),
            }
        )
    return told


def _mean(found: Iterable[Flags]) -> dict[str, float | None]:
    return spread([float(np.mean(one)) for one in found])


def _needed(place: NDArray[np.int64], share: float = 0.8) -> float:
    """Images to review, in order, until that share of the errors is found."""
    return float(np.sort(place)[int(np.ceil(share * len(place))) - 1] + 1)
