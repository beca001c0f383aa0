"""Can a score predict which encoder will serve best, without fitting a classifier?

Entry tmi-intraclass-variance. Sixteen encoders of 28 x 28 grey images (pixels at three sizes, HOG
at two, principal axes of MNIST, two networks with random weights, and eight small networks trained
fully or briefly on all or some classes of MNIST, Fashion-MNIST or notMNIST) and five targets: USPS,
MNIST-M, notMNIST, Fashion-MNIST, and the alphabet of characters of Omniglot, always rows that no
network was trained on. Ten subsets of the features of one MobileNetV2 (principal axes, random
columns) are applied to CIFAR-10: there they differ in little but the number of features.

Predicted are the test accuracy of logistic regression on the frozen features (600 labelled rows,
1,000 test rows, drawn anew by each of five seeds, 30 to 34) and, for the networks only and on two
of the targets, of the whole network fine-tuned on the same rows (one recipe, fixed beforehand). The
scores see the 600 rows. A table holds Kendall's tau with that accuracy for each seed; its interval
is over seeds, that is over draws of rows. `bootstrap` shows how much it depends on the encoders:
tau over encoders drawn with replacement. "feature dimension" and "parameters" are predictors that
look at no image; a score that is not ahead of them is not informative. TMI is included as in the
authors' code (distances raised to 1), without that floor, and in 32 principal axes of one scale. On
these, what the paper counts as room for adaptation is overlap of the classes, so the sign turns:
"TMI, common axes, negated" stands beside it, and is close to an estimate of mutual information. No
setting was chosen by these figures.
"""

from __future__ import annotations

from typing import Any

from benchmarks import datasets
from benchmarks.encoder_zoo import (
    load_targets,
    make_encoders,
    make_feature_subsets,
    make_small_encoders,
)
from benchmarks.which_encoder.agreement import (
    bootstrap,
    list_encoders,
    score_encoders,
    select_encoders,
    tabulate_tau,
    tabulate_times,
)
from ilk.core.errors import Unavailable

SEEDS = tuple(range(30, 35))
FINE_TUNED = ("Fashion-MNIST", "Omniglot alphabets")  # the slow part


def run(small: bool = False) -> dict[str, Any]:
    """Return every table; `small` takes digits as pixels, three encoders and two seeds."""
    if small:
        return _compare_small()
    results: dict[str, Any] = {"tables": [], "left out": []}
    for compare in (_compare_grey, _compare_photographs):
        try:
            result = compare()
        except Unavailable as missing:
            results["left out"].append(str(missing))
            continue
        results["tables"] += result.pop("tables")
        results |= result
    return results


def _compare_grey() -> dict[str, Any]:
    """Compare the sixteen on five targets, and the networks among them frozen and fine-tuned."""
    candidates = make_encoders()
    network_indices = [i for i, e in enumerate(candidates) if e.network is not None]
    results = {
        name: [score_encoders(candidates, data, seed, name in FINE_TUNED) for seed in SEEDS]
        for name, data in load_targets().items()
    }
    tables, intervals = [], {}
    for name, by_seed in results.items():
        tables.append(tabulate_tau(f"{name}, 16 encoders", {name: by_seed}, "frozen", False))
    for truth, indices, setting in (
        ("frozen", list(range(len(candidates))), "mean over five targets, 16 encoders, frozen"),
        ("frozen", network_indices, "mean over five targets, the ten networks, frozen"),
        ("fine-tuned", network_indices, "mean over two targets, the ten networks, fine-tuned"),
    ):
        subset = {
            n: [select_encoders(columns, indices) for columns in seeds]
            for n, seeds in results.items()
            if truth == "frozen" or n in FINE_TUNED
        }
        tables.append(tabulate_tau(setting, subset, truth))
        intervals[setting] = bootstrap(subset, truth)
    tables.append(tabulate_times(results))
    return {
        "tables": tables,
        "bootstrap": intervals,
        "encoders": list_encoders(candidates, results),
    }


def _compare_photographs() -> dict[str, Any]:
    """Compare ten subsets of one network's features on CIFAR-10."""
    candidates, test = make_feature_subsets(), datasets.read_cifar("test")
    results = {"CIFAR-10": [score_encoders(candidates, test, seed) for seed in SEEDS]}
    setting = "CIFAR-10, ten subsets of one network's features"
    return {
        "tables": [tabulate_tau(setting, results, "frozen")],
        "bootstrap, subsets of one network's features": bootstrap(results, "frozen"),
        "subsets": list_encoders(candidates, results),
    }


def _compare_small() -> dict[str, Any]:
    """Compare three encoders of scikit-learn's digits with two seeds."""
    candidates = make_small_encoders()
    results = {
        "digits": [score_encoders(candidates, datasets.read_digits(), seed) for seed in range(2)]
    }
    return {
        "tables": [
            tabulate_tau("digits, three encoders", results, "frozen"),
            tabulate_times(results),
        ],
        "bootstrap": bootstrap(results, "frozen"),
        "encoders": list_encoders(candidates, results),
    }
