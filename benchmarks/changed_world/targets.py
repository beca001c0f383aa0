"""DANN and WaveBlock: an unlabelled target domain beside a labelled source."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks import datasets
from benchmarks.changed_world.shifted_digits import (
    Scores,
    accuracy,
    downscale_to_8,
    halve_rows,
    load_digit_set,
    make_rng,
    rotate_images,
    sample_rows,
)
from benchmarks.claims import Claim, make_table
from ilk.core.data import UNLABELLED, Data, Features, Labels
from ilk.maths.domain_separability import domain_separability, proxy_a_distance
from ilk.methods.dann import DANN
from ilk.methods.k_nearest import KNearest
from ilk.methods.logistic_regression import LogisticRegression
from ilk.methods.waveblock import WaveBlock

BASELINE = "logistic regression"
NO_ADVERSARY, OWN_STATISTICS = "strength 0", "per-domain standardisation"


def tabulate_targets(tables: list[Any], _drops: Any, seeds: range, small: bool) -> None:
    """Add the tables of unlabelled targets and of the distance between their hidden units."""
    accuracies: dict[str, Scores] = defaultdict(lambda: defaultdict(list))
    distances: dict[str, Scores] = defaultdict(lambda: defaultdict(list))
    for seed in seeds:
        rng = make_rng(seed)
        for name, source, target, test in (
            _load_small_targets(rng) if small else _load_full_targets(rng)
        ):
            _compare_dann(source, target, test, seed, accuracies[name], distances[name])
    for name, scores in accuracies.items():
        baselines = (NO_ADVERSARY, BASELINE, "KNearest", OWN_STATISTICS)
        claims = [Claim("dann", "methods/dann.py", "DANN", baseline) for baseline in baselines]
        tables.append(make_table(name, "target accuracy", scores, claims))
        metric = "proxy A-distance of the hidden units"
        tables.append(make_table(name, metric, distances[name], claims[:1], better="lower"))


Targets = Iterator[tuple[str, Data, Data, Data]]


def _load_small_targets(rng: np.random.Generator) -> Targets:
    digits = sample_rows(datasets.read_digits(), 1797, rng)
    target = digits.take(np.arange(800, 1797))
    rotated = replace(target, x=rotate_images(target.x, 30.0))
    yield "digits to digits at 30 degrees", digits.take(np.arange(800)), *halve_rows(rotated)


def _load_full_targets(rng: np.random.Generator) -> Targets:
    mnist, usps = (sample_rows(load_digit_set(name), 2000, rng) for name in ("mnist", "usps"))
    usps_test = sample_rows(load_digit_set("usps", "test"), 1000, rng)
    yield "MNIST to USPS", mnist, usps.take(np.arange(1000)), usps_test
    imbalanced = _make_imbalanced(sample_rows(load_digit_set("usps"), 5000, rng))
    yield "MNIST to USPS under label shift", mnist, imbalanced, _make_imbalanced(usps_test)
    yield "MNIST to MNIST-M", mnist, *halve_rows(sample_rows(load_digit_set("mnist_m"), 2000, rng))
    pixels = sample_rows(datasets.read_mnist(), 2000, rng)
    digits = sample_rows(datasets.read_digits(), 1797, rng)
    yield (
        "MNIST to scikit-learn digits",
        replace(pixels, x=downscale_to_8(pixels.x)),
        *halve_rows(digits),
    )


def _make_imbalanced(data: Data) -> Data:
    """Return at most 1,000 rows of which nine tenths are digits 0 to 4."""
    low, high = np.flatnonzero(data.y < 5), np.flatnonzero(data.y >= 5)
    n = min(1000, len(low) * 10 // 9)
    return data.take(np.append(low[: n * 9 // 10], high[: n // 10]))


def _compare_dann(
    source: Data, target: Data, test: Data, seed: int, accuracies: Scores, distances: Scores
) -> None:
    unlabelled = replace(target, y=np.full(len(target), UNLABELLED))
    combined = replace(source, domain=np.zeros(len(source), np.int64)).concat(unlabelled)
    for name, strength in (("DANN", 1.0), (NO_ADVERSARY, 0.0)):
        model = DANN(strength=strength, seed=seed).fit(combined)
        accuracies[name].append(accuracy(model, test))
        domain_accuracy = domain_separability(
            model.compute_hidden(source.x), model.compute_hidden(target.x), seed
        )
        distances[name].append(proxy_a_distance(domain_accuracy))
    accuracies[BASELINE].append(accuracy(LogisticRegression().fit(source), test))
    accuracies["KNearest"].append(accuracy(KNearest().fit(source), test))
    model = DANN(strength=0.0, seed=seed).fit(replace(source, x=_standardize(source.x, source.x)))
    accuracies[OWN_STATISTICS].append(
        accuracy(model, replace(test, x=_standardize(test.x, target.x)))
    )


def _standardize(x: Features, reference: Features) -> Features:
    """Standardise rows by the mean and standard deviation of their own domain."""
    return np.asarray((x - reference.mean(0)) / (reference.std(0) + 1e-3), np.float32)


def tabulate_pairs(tables: list[Any], _drops: Any, seeds: range, small: bool) -> None:
    """Add the tables of two networks that teach each other."""
    accuracies: Scores = defaultdict(list)
    disagreements: Scores = defaultdict(list)
    for seed in seeds:
        rng = make_rng(seed)
        data, x, y = _load_small_images(rng) if small else _load_images(rng)
        for name, method in _make_teaching_pairs(small).items():
            model = replace(method, seed=seed).fit(data)
            accuracies[name].append(float(np.mean(model.logits(x).argmax(1) == y)))
            disagreements[name].append(model.measure_disagreement(x))
            if name == "two self-training networks":
                first_answers = model.predict_log_proba(x)[0].argmax(1)
                accuracies["single self-training"].append(float(np.mean(first_answers == y)))
    setting = "digits to digits at 30 degrees" if small else "MNIST to USPS, images"
    baselines = (
        "mutual teaching",
        "single self-training",
        "two self-training networks",
        "source only",
    )
    claims = [
        Claim("attentive-waveblock", "methods/waveblock.py", "WaveBlock", baseline)
        for baseline in baselines
    ]
    tables.append(make_table(setting, "target accuracy", accuracies, claims))
    tables.append(
        make_table(setting, "disagreement of the two networks", disagreements, claims[:1])
    )


def _make_teaching_pairs(small: bool) -> dict[str, WaveBlock]:
    rounds = 0 if small else 3
    return {
        "WaveBlock": WaveBlock(rounds=rounds),
        "mutual teaching": WaveBlock(rounds=rounds, factor=1.0),
        "two self-training networks": WaveBlock(rounds=rounds, factor=1.0, teacher_weight=0.0),
        "source only": WaveBlock(rounds=0, factor=1.0, teacher_weight=0.0),
    }


Images = tuple[Data, Features, Labels]


def _load_images(rng: np.random.Generator) -> Images:
    return _reshape_to_images(
        sample_rows(datasets.read_mnist(), 1200, rng),
        sample_rows(datasets.read_usps(), 600, rng),
        sample_rows(datasets.read_usps("test"), 1000, rng),
    )


def _load_small_images(rng: np.random.Generator) -> Images:
    digits = sample_rows(datasets.read_digits(), 600, rng)
    enlarged = np.kron(digits.x.reshape(-1, 8, 8), np.ones((2, 2), np.float32))
    all_images = replace(digits, x=enlarged.reshape(len(digits), -1))
    source, target = all_images.take(np.arange(200)), all_images.take(np.arange(200, 600))
    return _reshape_to_images(source, *halve_rows(replace(target, x=rotate_images(target.x, 30.0))))


def _reshape_to_images(source: Data, target: Data, test: Data) -> Images:
    """Return labelled source and unlabelled target as images, and the test images and labels."""
    combined = source.concat(replace(target, y=np.full(len(target), UNLABELLED)))
    side = round(combined.x.shape[1] ** 0.5)
    return (
        replace(combined, x=combined.x.reshape(-1, 1, side, side)),
        test.x.reshape(-1, 1, side, side),
        test.y,
    )
