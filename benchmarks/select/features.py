"""Selection of rows of features: the default, every rule, random rows, and all rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.datasets import read_cifar, read_mnist, read_usps
from ilk.core.data import Data
from ilk.maths.out_of_fold import fit_head, predict_proba
from ilk.subset_selection.select_rows import (
    Selection,
    SelectionConfig,
    list_candidates,
    select_rows,
)

AUTO, RANDOM, ALL = "ilk select", "random images", "all images"
N_SOURCE, N_TEST = 1500, 3000
N_TARGET_SOURCE, N_TARGET = 300, 200


def read_set(name: str, seed: int, small: bool) -> tuple[Data, Data]:
    """Draw training and test rows of "CIFAR-10" (MobileNetV2 features) or "MNIST" (pixels)."""
    rng = np.random.default_rng(seed)
    data = read_cifar() if name == "CIFAR-10" else read_mnist()
    order = rng.permutation(len(data))
    n, n_test = (200, 200) if small else (N_SOURCE, N_TEST)
    return data.take(order[:n]), data.take(order[n : n + n_test])


def compare_rules(train: Data, test: Data, keep: float, seed: int) -> dict[str, Any]:
    """Return test accuracy by rule, what was chosen unasked, and what was said of it."""
    chosen = select_rows(train, None, SelectionConfig(keep, seed=seed))
    count = len(chosen.kept)
    accuracy = {
        ALL: measure(train, test),
        AUTO: measure(train.take(chosen.kept), test),
        RANDOM: measure_random(train, test, keep, seed),
    }
    for name in list_candidates(has_target=False, is_labelled=True):
        rows = _select_unjudged(train, None, name, count, seed)
        accuracy[name] = measure(train.take(rows), test)
    return {"accuracy": accuracy, "selector": chosen.selector, **_describe(chosen, accuracy)}


def compare_for_target(seed: int, keep: float, small: bool) -> dict[str, Any]:
    """Return target accuracy by rule: MNIST and a few USPS digits for USPS digits."""
    rng = np.random.default_rng(seed)
    mnist, usps, test = read_mnist(), read_usps(), read_usps("test")
    n, n_few, n_target = (200, 40, 40) if small else (N_SOURCE, N_TARGET_SOURCE, N_TARGET)
    mine = usps.take(rng.permutation(len(usps))[: n_few + n_target])
    source = mnist.take(rng.permutation(len(mnist))[:n]).concat(mine.take(np.arange(n_few)))
    target = mine.take(np.arange(n_few, n_few + n_target))
    chosen = select_rows(source, target, SelectionConfig(keep, seed=seed))
    accuracy = {
        ALL: measure(source, test),
        AUTO: measure(source.take(chosen.kept), test),
        RANDOM: measure_random(source, test, keep, seed),
    }
    for name in list_candidates(has_target=True, is_labelled=True):
        rows = _select_unjudged(source, target, name, len(chosen.kept), seed)
        accuracy[name] = measure(source.take(rows), test)
    return {"accuracy": accuracy, "selector": chosen.selector, **_describe(chosen, accuracy)}


def measure(train: Data, test: Data) -> float:
    """Return the test accuracy of a softmax regression on `train`."""
    return float(np.mean(predict_proba(fit_head(train), test.x).argmax(1) == test.y))


def measure_random(train: Data, test: Data, keep: float, seed: int, draws: int = 5) -> float:
    """Return the mean test accuracy over random selections of as many rows."""
    scores = [
        measure(
            train.take(
                select_rows(
                    train, None, SelectionConfig(keep, method="RandomSubset", seed=100 * seed + d)
                ).kept
            ),
            test,
        )
        for d in range(draws)
    ]
    return float(np.mean(scores))


def _select_unjudged(
    source: Data, target: Data | None, name: str, count: int, seed: int
) -> NDArray[np.int64]:
    """Return the rows that a named rule keeps, without a judgement of it."""
    from ilk.subset_selection.choose_rows import choose_rows
    from ilk.subset_selection.select_rows import reduce_features
    from ilk.subset_selection.selectors import parse_selector

    reduced, goal = reduce_features(source, target)
    scores = parse_selector(name).score(reduced, goal, seed)
    return choose_rows(scores, source.y, count, "proportional" if target is None else "free")


def _describe(chosen: Selection, accuracy: dict[str, float]) -> dict[str, Any]:
    """Return the gain that was stated beforehand, and the one on test images."""
    verdict = chosen.verdict
    assert verdict is not None, "there are enough rows for folds"
    gain = verdict.gain
    is_used = verdict.selector == verdict.best
    tested = accuracy[verdict.best] - accuracy[RANDOM]
    return {
        "stated_gain": [gain.low, gain.value, gain.high],
        "tested_gain": tested,
        "used": is_used,
    }


def summarize_statements(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return how often a rule was used, and how often the tested gain lay in the interval."""
    inside = [run["stated_gain"][0] <= run["tested_gain"] <= run["stated_gain"][2] for run in runs]
    return {
        "rule used": float(np.mean([run["used"] for run in runs])),
        "selectors": [run["selector"] for run in runs],
        "mean stated gain": float(np.mean([run["stated_gain"][1] for run in runs])),
        "mean tested gain": float(np.mean([run["tested_gain"] for run in runs])),
        "tested gain in stated interval": float(np.mean(inside)),
    }
