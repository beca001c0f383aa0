"""The audit on the CIFAR-10 test set, with 275 suspected label errors reviewed by people."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import datasets
from benchmarks.runner import shared_path, summarize
from benchmarks.wrong_labels.cifar_resnet import load_cifar_test
from benchmarks.wrong_labels.label_audit import (
    N_FOLDS,
    Flags,
    invert_ranking,
    predict_out_of_fold,
    roc_auc,
)
from ilk.core.data import Data, Labels
from ilk.core.metrics import Probabilities
from ilk.methods.gda import GDA
from ilk.methods.streaming_gda import StreamingGaussian, StreamingGDA
from ilk.protocols import stratified_folds
from ilk.trust.calibration import check_logits, cross_calibrate
from ilk.trust.label_errors import LabelErrors

REVIEW_BUDGETS = (37, 100, 275, 500, 1000, 2000)  # images reviewed of the 10,000
SUSPECT_BUDGETS = (28, 55, 110, 165, 220)  # of the 275: a tenth, a fifth, two fifths, …
GDA_ALONE, GDA_WITH_TRAIN = (
    "GDA on ImageNet features",
    "GDA on ImageNet features, with the training set",
)
GDA_RESNET = "GDA on features of ResNet-20, trained on the training set"
PUBLISHED = "probabilities of Northcutt et al., which selected the 275"
MAJORITY = "a majority chose another class or none"


def evaluate_audit(ranking: str, seeds: int) -> dict[str, Any]:
    """Evaluate the audit on verified errors of the CIFAR-10 test set, by review budget."""
    test = datasets.read_cifar("test")
    suspects, is_wrong = datasets.read_reviews()
    error_flags = {
        MAJORITY: is_wrong.astype(bool),
        "fewer than three of five people confirmed it": _published_errors(),
    }
    rankings = _rank_images(test, ranking, seeds)
    report: dict[str, Any] = {"ranking": ranking, "images": len(test), "suspects": len(suspects)}
    report["counts"] = [
        {
            "verdict": name,
            "errors": int(truth.sum()),
            "audits": _measure_recall(rankings, suspects, truth),
        }
        for name, truth in error_flags.items()
    ]
    return report


def _published_errors() -> Flags:
    """Return the published errors: suspects whose label fewer than three of five confirmed."""
    path = shared_path("data", "cleanlab_label_errors", "cifar10_mturk.json")
    return np.array([suspect["mturk"]["given"] < 3 for suspect in json.loads(path.read_text())])


def _rank_images(test: Data, ranking: str, seeds: int) -> dict[str, list[NDArray[np.int64]]]:
    """Return the ranks of the test rows in each audit, one per seed."""
    ranks: dict[str, list[NDArray[np.int64]]] = {}

    def add_ranks(name: str, p: Probabilities) -> None:
        positions = invert_ranking(LabelErrors.find(p, test.y, ranking).rows, len(test))
        ranks.setdefault(name, []).append(positions)

    resnet_test = load_cifar_test()
    assert np.array_equal(resnet_test.y, test.y), "both stand class after class, by name"
    train_model = StreamingGDA().fit(datasets.read_cifar("train"))
    for seed in range(seeds):
        add_ranks(GDA_ALONE, predict_out_of_fold(GDA(), test, seed))
        add_ranks(GDA_WITH_TRAIN, _predict_with_train(train_model, test, seed))
        add_ranks(GDA_RESNET, predict_out_of_fold(GDA(), resnet_test, seed))
        rng = np.random.default_rng(seed)
        ranks.setdefault("random", []).append(rng.permutation(len(test)))
    folder = shared_path("data", "cleanlab_label_errors")
    rows = datasets.canonical_rows(np.load(folder / "cifar10_test_set_original_labels.npy"))
    add_ranks(PUBLISHED, np.load(folder / "cifar10_test_set_pyx.npy").astype(np.float64)[rows])
    return ranks


def _predict_with_train(model: StreamingGaussian, test: Data, seed: int) -> Probabilities:
    """Predict out of fold, with the training set added to every fold."""
    fold = stratified_folds(test.y, N_FOLDS, seed)
    logits = np.empty((len(test), test.k))
    for f in range(N_FOLDS):
        updated = StreamingGDA().update(model, test.take(fold != f))
        logits[fold == f] = check_logits(updated.logits(test.x[fold == f]))
    return cross_calibrate(logits, test.y, fold)


def _measure_recall(
    rankings: dict[str, list[NDArray[np.int64]]], suspects: Labels, is_error: Flags
) -> list[dict[str, Any]]:
    """Return recall at each budget and areas, among all images and among the suspects."""
    reports = []
    for name, runs in rankings.items():
        among_suspects = [np.argsort(np.argsort(run[suspects])) for run in runs]
        error_flags = np.zeros(len(runs[0]), bool)
        error_flags[suspects[is_error]] = True
        reports.append(
            {
                "audit": name,
                "recall": [
                    {"reviewed": b, "found": _summarize_recall(p[error_flags] < b for p in runs)}
                    for b in REVIEW_BUDGETS
                ],
                "area": summarize([roc_auc(p, error_flags) for p in runs]),
                "reviewed_for_80_percent": summarize(
                    [_images_to_review(p[error_flags]) for p in runs]
                ),
                "recall_among_suspects": [
                    {
                        "reviewed": b,
                        "found": _summarize_recall(a[is_error] < b for a in among_suspects),
                    }
                    for b in SUSPECT_BUDGETS
                ],
                "area_among_suspects": summarize([roc_auc(a, is_error) for a in among_suspects]),
            }
        )
    return reports


def _summarize_recall(hits: Iterable[Flags]) -> dict[str, float | None]:
    return summarize([float(np.mean(flags)) for flags in hits])


def _images_to_review(ranks: NDArray[np.int64], fraction: float = 0.8) -> float:
    """Return the number of images to review until `fraction` of the errors is found."""
    return float(np.sort(ranks)[int(np.ceil(fraction * len(ranks))) - 1] + 1)
