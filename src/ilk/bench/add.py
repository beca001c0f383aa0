"""`ilk add`: is a classifier that grew as good as one fitted again, and what does growing cost?

One class of digits and of CIFAR-10 (1,280 features of MobileNetV2, 100 images a class to learn
from) arrives after the others were learnt, a different one for each of five seeds; and ten of the
136 characters of Omniglot at once (pixels, 15 drawings each). Beside the grown classifier stands
one that was fitted to all images with the same head, calibration and folds, and the nearest class
mean fitted to all. Tested on rows that no one learnt from (digits 540, CIFAR-10 1,000 of its test
part, Omniglot five drawings a character). Hyperparameters are the defaults; the strength of
logistic regression on CIFAR-10 was set in advance.

Cost: 100 simulated Gaussian classes, 50,000 rows of 768 and of 1,280 numbers, one class of 500 rows
more; the update alone, by the wall and by the processor's clock, the best of three. The largest
difference from batch GDA of all 50,500 rows is told beside how far the update moves old logits. The
whole command is timed on such a folder (its 768 numbers are pixels), with 200 images to encode.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ilk.bench import _sets, spread
from ilk.bench._adding_cost import CLASSES, costs, whole_command
from ilk.bench._family import Claim, table
from ilk.bench._saved import Material
from ilk.classifier import Classifier
from ilk.data import Data
from ilk.errors import Unavailable
from ilk.living.growing import grow
from ilk.methods import parse
from ilk.metrics import calibration_error
from ilk.trust.conformal import Coverage

SEEDS = 5
MEAN = "NearestClassMean()"
HEADS = {
    "digits": ("GDA()", MEAN, "LogisticRegression()", "KNearest()"),
    "CIFAR-10": ("GDA()", MEAN, "LogisticRegression(C=0.003)"),
    "Omniglot, 10 of 136 characters": ("GDA()", MEAN),
}
METRICS = {
    "accuracy": "higher",
    "accuracy on old classes": "higher",
    "accuracy on new classes": "higher",
    "calibration error": "lower",
}
ROWS, NEW = 50_000, 500


@dataclass(frozen=True, eq=False)
class Split:
    """Rows of old classes, rows of new ones, and rows to test on, which know all classes."""

    old: Data
    new: Data
    test: Data

    @property
    def all(self) -> Data:
        """What a refit learns from."""
        names = self.test.classes
        y = np.append(self.old.y, self.new.y + len(self.old.classes))
        return Data(np.concatenate([self.old.x, self.new.x]), y, names)


def run(small: bool = False) -> dict[str, Any]:
    """All tables and costs; `small` takes digits, two seeds, one head of each kind and few rows."""
    seeds = range(2 if small else SEEDS)
    made = {"digits": digits} if small else {"digits": digits, "CIFAR-10": cifar}
    if not small:
        made["Omniglot, 10 of 136 characters"] = omniglot
    tables, left_out, promises = list[dict[str, Any]](), list[str](), dict[str, Any]()
    for name, splits in made.items():
        heads = ("GDA()", "LogisticRegression(C=1.0)") if small else HEADS[name]
        try:
            found = [
                judged(split, seed, heads) for seed, split in zip(seeds, splits(), strict=False)
            ]
        except Unavailable as missing:
            left_out.append(str(missing))
            continue
        tables += _tables(name, heads, found)
        promises[name] = _promises(found)
    cost = [costs(400, 16, 5, 50)] if small else [costs(ROWS, d, CLASSES, NEW) for d in (768, 1280)]
    command = whole_command(400, 5, 20) if small else whole_command(ROWS, CLASSES, 200)
    return {
        "tables": tables,
        "left out": left_out,
        "promises of sets and of the unknown": promises,
        "cost of the update (simulated)": cost,
        "cost of the whole command (simulated)": command,
    }


def _tables(
    name: str, heads: Sequence[str], found: Sequence[dict[str, dict[str, float]]]
) -> Iterator[dict[str, Any]]:
    sides = [f"{head} {how}" for head in heads for how in ("grown", "fitted again")]
    for metric, better in METRICS.items():
        scores = {side: [one[side][metric] for one in found] for side in sides}
        claims = [
            Claim("ilk add", "living/growing.py", f"{head} grown", f"{head} fitted again")
            for head in heads
        ]
        if MEAN in heads and metric == "accuracy":
            rival = f"{MEAN} fitted again"
            claims += [
                Claim("ilk add", "living/growing.py", f"{head} grown", rival)
                for head in heads
                if head != MEAN
            ]
        yield table(name, metric, scores, claims, "lower" if better == "lower" else "higher")


def _promises(found: Sequence[dict[str, dict[str, float]]]) -> dict[str, Any]:
    """Coverage of 90 % sets and share called unknown (5 % allowed), and what moved."""
    names = ("coverage", "called unknown", "new called unknown", "old answers as before", "moved")
    return {
        side: {n: spread([one[side][n] for one in found]) for n in names if n in found[0][side]}
        for side in found[0]
    }


def judged(split: Split, seed: int, heads: Sequence[str]) -> dict[str, dict[str, float]]:
    """Figures of each head, grown and fitted again."""
    old, both = Material.of(split.old, seed), Material.of(split.all, seed)
    told = {}
    for head in heads:
        grown, growth = grow(old.learnt(parse(head)), split.new, anyway=True)
        more = {"old answers as before": float(growth.old_same or 0), "moved": growth.moved}
        told[f"{head} grown"] = {**_figures(grown, split), **more}
        told[f"{head} fitted again"] = _figures(both.learnt(parse(head)), split)
    return told


def _figures(classifier: Classifier, split: Split) -> dict[str, float]:
    y, new = split.test.y, split.test.y >= len(split.old.classes)
    judgement = classifier.judge(split.test.x)
    right = judgement.probabilities.argmax(1) == y
    return {
        "accuracy": float(right.mean()),
        "accuracy on old classes": float(right[~new].mean()),
        "accuracy on new classes": float(right[new].mean()),
        "calibration error": calibration_error(y, judgement.probabilities),
        "coverage": Coverage.of(judgement.sets, y).covered.value,
        "called unknown": float(judgement.unknown.mean()),
        "new called unknown": float(judgement.unknown[new].mean()),
    }


def digits() -> Iterator[Split]:
    """scikit-learn's digits, 70/30; class after class comes late."""
    data = _sets.digits()
    for seed in range(SEEDS):
        order = np.random.default_rng(seed).permutation(len(data))
        yield late(data.rows(order[540:]), data.rows(order[:540]), [(2 * seed + 1) % 10])


def cifar() -> Iterator[Split]:
    """CIFAR-10: 100 rows a class of the train part, 100 of the test part."""
    train, test = _sets.cifar("train"), _sets.cifar("test")
    for seed in range(SEEDS):
        yield late(_few(train, 100, seed), _few(test, 100, seed), [(2 * seed + 1) % 10])


def omniglot() -> Iterator[Split]:
    """136 characters, 15 drawings each to learn from and 5 to test; ten characters come late."""
    data = _sets.omniglot(1)
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        held = np.concatenate(
            [rng.permutation(np.flatnonzero(data.y == c))[:5] for c in range(data.k)]
        )
        rest = np.setdiff1d(np.arange(len(data)), held)
        yield late(data.rows(rest), data.rows(held), rng.permutation(data.k)[:10])


def _few(data: Data, each: int, seed: int) -> Data:
    rng = np.random.default_rng(seed)
    rows = [rng.permutation(np.flatnonzero(data.y == c))[:each] for c in range(data.k)]
    return data.rows(np.concatenate(rows))


def late(train: Data, test: Data, classes: Iterable[int]) -> Split:
    """`classes` come last, in what is learnt and in the list."""
    new = list(classes)
    order = [c for c in range(train.k) if c not in new] + new
    to = np.argsort(order)
    names, k = tuple(train.classes[c] for c in order), train.k - len(new)
    y, is_new = to[train.y], np.isin(train.y, new)
    return Split(
        Data(train.x[~is_new], y[~is_new], names[:k]),
        Data(train.x[is_new], y[is_new] - k, names[k:]),
        Data(test.x, to[test.y], names),
    )
