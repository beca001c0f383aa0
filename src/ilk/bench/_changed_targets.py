"""DANN and WaveBlock: a target whose rows have no label, learnt from beside a labelled source."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from ilk.bench import _sets
from ilk.bench._family import Claim, table
from ilk.bench._worlds import Scores, accuracy, digits_of, draw, drawn, eighth, halves, turned
from ilk.data import UNKNOWN, Data, Features, Labels
from ilk.methods.dann import DANN
from ilk.methods.k_nearest import KNearest
from ilk.methods.logistic_regression import LogisticRegression
from ilk.methods.waveblock import WaveBlock
from ilk.training.adversary import proxy_distance, separability

HEAD = "logistic regression"
PLAIN, OWN = "strength 0", "own statistics"


def targets(tables: list[Any], _drops: Any, seeds: range, small: bool) -> None:
    """Tables of targets without labels, and of how far their hidden units lie from the source."""
    right: dict[str, Scores] = defaultdict(lambda: defaultdict(list))
    told: dict[str, Scores] = defaultdict(lambda: defaultdict(list))
    for seed in seeds:
        rng = draw(seed)
        for name, source, target, test in _small_targets(rng) if small else _full_targets(rng):
            _adversary(source, target, test, seed, right[name], told[name])
    for name, scores in right.items():
        others = (PLAIN, HEAD, "KNearest", OWN)
        claims = [Claim("dann", "methods/dann.py", "DANN", other) for other in others]
        tables.append(table(name, "target accuracy", scores, claims))
        metric = "proxy A-distance of the hidden units"
        tables.append(table(name, metric, told[name], claims[:1], better="lower"))


Targets = Iterator[tuple[str, Data, Data, Data]]


def _small_targets(rng: np.random.Generator) -> Targets:
    digits = drawn(_sets.digits(), 1797, rng)
    target = digits.rows(np.arange(800, 1797))
    other = replace(target, x=turned(target.x, 30.0))
    yield "digits to digits at 30 degrees", digits.rows(np.arange(800)), *halves(other)


def _full_targets(rng: np.random.Generator) -> Targets:
    mnist, usps = (drawn(digits_of(name), 2000, rng) for name in ("mnist", "usps"))
    other = drawn(digits_of("usps", "test"), 1000, rng)
    yield "MNIST to USPS", mnist, usps.rows(np.arange(1000)), other
    few = _lopsided(drawn(digits_of("usps"), 5000, rng))
    yield "MNIST to USPS under label shift", mnist, few, _lopsided(other)
    test = drawn(digits_of("mnist", "test"), 1000, rng)
    yield "USPS to MNIST", usps, mnist.rows(np.arange(1000)), test
    yield "MNIST to MNIST-M", mnist, *halves(drawn(digits_of("mnist_m"), 2000, rng))
    pixels = drawn(_sets.mnist(), 2000, rng)
    digits = drawn(_sets.digits(), 1797, rng)
    yield "MNIST to scikit-learn digits", replace(pixels, x=eighth(pixels.x)), *halves(digits)


def _lopsided(data: Data) -> Data:
    """Rows of which digits 0 to 4 are nine tenths, at most 1,000."""
    low, high = np.flatnonzero(data.y < 5), np.flatnonzero(data.y >= 5)
    n = min(1000, len(low) * 10 // 9)
    return data.rows(np.append(low[: n * 9 // 10], high[: n // 10]))


def _adversary(
    source: Data, target: Data, test: Data, seed: int, right: Scores, told: Scores
) -> None:
    bare = replace(target, y=np.full(len(target), UNKNOWN))
    both = replace(source, domain=np.zeros(len(source), np.int64)).concat(bare)
    for name, strength in (("DANN", 1.0), (PLAIN, 0.0)):
        model = DANN(strength=strength, seed=seed).fit(both)
        right[name].append(accuracy(model, test))
        share = separability(model.hidden(source.x), model.hidden(target.x), seed)
        told[name].append(proxy_distance(share))
    right[HEAD].append(accuracy(LogisticRegression().fit(source), test))
    right["KNearest"].append(accuracy(KNearest().fit(source), test))
    model = DANN(strength=0.0, seed=seed).fit(replace(source, x=_own(source.x, source.x)))
    right[OWN].append(accuracy(model, replace(test, x=_own(test.x, target.x))))


def _own(x: Features, of: Features) -> Features:
    """Rows standardised by the mean and deviation of their own side."""
    return np.asarray((x - of.mean(0)) / (of.std(0) + 1e-3), np.float32)


def pairs(tables: list[Any], _drops: Any, seeds: range, small: bool) -> None:
    """Tables of two networks that teach each other."""
    right: Scores = defaultdict(list)
    apart: Scores = defaultdict(list)
    for seed in seeds:
        rng = draw(seed)
        data, x, y = _small_images(rng) if small else _images(rng)
        for name, method in _couples(small).items():
            model = replace(method, seed=seed).fit(data)
            right[name].append(float(np.mean(model.logits(x).argmax(1) == y)))
            apart[name].append(model.apart(x))
            if name == "two that teach themselves":
                alone = model.each(x)[0].argmax(1)
                right["single self-training"].append(float(np.mean(alone == y)))
    where = "digits to digits at 30 degrees" if small else "MNIST to USPS, images"
    others = ("mutual teaching", "single self-training", "two that teach themselves", "source only")
    claims = [
        Claim("attentive-waveblock", "methods/waveblock.py", "WaveBlock", other) for other in others
    ]
    tables.append(table(where, "target accuracy", right, claims))
    tables.append(table(where, "share answered differently by the two", apart, claims[:1]))


def _couples(small: bool) -> dict[str, WaveBlock]:
    rounds = 0 if small else 3
    return {
        "WaveBlock": WaveBlock(rounds=rounds),
        "mutual teaching": WaveBlock(rounds=rounds, factor=1.0),
        "two that teach themselves": WaveBlock(rounds=rounds, factor=1.0, teaching=0.0),
        "source only": WaveBlock(rounds=0, factor=1.0, teaching=0.0),
    }


Images = tuple[Data, Features, Labels]


def _images(rng: np.random.Generator) -> Images:
    return _as_images(
        drawn(_sets.mnist(), 1200, rng),
        drawn(_sets.usps(), 600, rng),
        drawn(_sets.usps("test"), 1000, rng),
    )


def _small_images(rng: np.random.Generator) -> Images:
    digits = drawn(_sets.digits(), 600, rng)
    large = np.kron(digits.x.reshape(-1, 8, 8), np.ones((2, 2), np.float32))
    whole = replace(digits, x=large.reshape(len(digits), -1))
    source, target = whole.rows(np.arange(200)), whole.rows(np.arange(200, 600))
    return _as_images(source, *halves(replace(target, x=turned(target.x, 30.0))))


def _as_images(source: Data, target: Data, test: Data) -> Images:
    """Source with labels and target without, as images; then what is judged."""
    both = source.concat(replace(target, y=np.full(len(target), UNKNOWN)))
    side = round(both.x.shape[1] ** 0.5)
    return (
        replace(both, x=both.x.reshape(-1, 1, side, side)),
        test.x.reshape(-1, 1, side, side),
        test.y,
    )
