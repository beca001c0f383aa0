"""Is a classifier extended by `ilk add` as good as one refitted, and what does extending cost?

One class of digits or of CIFAR-10 (1,280 MobileNetV2 features, 100 training images per class) is
added after the others, a different one for each of five seeds; for Omniglot, ten of 136 characters
are added at once (pixels, 15 drawings each). The extended classifier is compared with one refitted
to all images with the same head, calibration and folds, and with the nearest class mean of all
images. Test rows are never trained on (digits 540, CIFAR-10 1,000 of the test part, Omniglot five
drawings per character). Hyperparameters are the defaults; the strength of logistic regression on
CIFAR-10 was fixed in advance.

Cost: 100 simulated Gaussian classes, 50,000 rows of 768 and of 1,280 features, and one new class of
500 rows. The update alone is measured in wall and CPU time, best of three. The largest difference
from batch GDA of all 50,500 rows is reported beside the largest change of the old logits. The whole
command is timed on such a folder (the 768 features are pixels) with 200 images to encode.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks import datasets
from benchmarks.add.cost import N_CLASSES, measure_update, time_command
from benchmarks.claims import Claim, make_table
from benchmarks.runner import summarize
from benchmarks.saved_classifier import FeatureSet
from ilk.artifacts.classifier import Classifier
from ilk.core.data import Data
from ilk.core.errors import Unavailable
from ilk.core.metrics import calibration_error
from ilk.methods import parse
from ilk.trust.conformal import CoverageReport
from ilk.updates.extend import extend_classifier

SEEDS = 5
NEAREST_MEAN = "NearestClassMean()"
HEADS = {
    "digits": ("GDA()", NEAREST_MEAN, "LogisticRegression()", "KNearest()"),
    "CIFAR-10": ("GDA()", NEAREST_MEAN, "LogisticRegression(C=0.003)"),
    "Omniglot, 10 of 136 characters": ("GDA()", NEAREST_MEAN),
}
METRICS = {
    "accuracy": "higher",
    "accuracy on old classes": "higher",
    "accuracy on new classes": "higher",
    "calibration error": "lower",
}
N_ROWS, N_NEW = 50_000, 500


@dataclass(frozen=True, eq=False)
class ExtensionSplit:
    """Rows of old classes, rows of new ones, and test rows of all classes."""

    old: Data
    new: Data
    test: Data

    @property
    def combined(self) -> Data:
        """Training rows of a refit."""
        names = self.test.classes
        y = np.append(self.old.y, self.new.y + len(self.old.classes))
        return Data(np.concatenate([self.old.x, self.new.x]), y, names)


def run(small: bool = False) -> dict[str, Any]:
    """Return all tables and costs; `small` takes digits, two seeds, two heads and few rows."""
    seeds = range(2 if small else SEEDS)
    sources = (
        {"digits": split_digits} if small else {"digits": split_digits, "CIFAR-10": split_cifar}
    )
    if not small:
        sources["Omniglot, 10 of 136 characters"] = split_omniglot
    tables, left_out, coverage = list[dict[str, Any]](), list[str](), dict[str, Any]()
    for name, draw_splits in sources.items():
        heads = ("GDA()", "LogisticRegression(C=1.0)") if small else HEADS[name]
        try:
            figures = [
                evaluate_heads(split, seed, heads)
                for seed, split in zip(seeds, draw_splits(), strict=False)
            ]
        except Unavailable as missing:
            left_out.append(str(missing))
            continue
        tables += _make_tables(name, heads, figures)
        coverage[name] = _summarize_coverage(figures)
    cost = (
        [measure_update(400, 16, 5, 50)]
        if small
        else [measure_update(N_ROWS, d, N_CLASSES, N_NEW) for d in (768, 1280)]
    )
    command = time_command(400, 5, 20) if small else time_command(N_ROWS, N_CLASSES, 200)
    return {
        "tables": tables,
        "left out": left_out,
        "coverage and unknown rates": coverage,
        "cost of the update (simulated)": cost,
        "cost of the whole command (simulated)": command,
    }


def _make_tables(
    name: str, heads: Sequence[str], figures: Sequence[dict[str, dict[str, float]]]
) -> Iterator[dict[str, Any]]:
    row_names = [f"{head} {update}" for head in heads for update in ("extended", "refitted")]
    for metric, better in METRICS.items():
        scores = {row: [seed_figures[row][metric] for seed_figures in figures] for row in row_names}
        claims = [
            Claim("ilk add", "updates/extend.py", f"{head} extended", f"{head} refitted")
            for head in heads
        ]
        if NEAREST_MEAN in heads and metric == "accuracy":
            baseline = f"{NEAREST_MEAN} refitted"
            claims += [
                Claim("ilk add", "updates/extend.py", f"{head} extended", baseline)
                for head in heads
                if head != NEAREST_MEAN
            ]
        yield make_table(name, metric, scores, claims, "lower" if better == "lower" else "higher")


def _summarize_coverage(figures: Sequence[dict[str, dict[str, float]]]) -> dict[str, Any]:
    """Coverage of 90 % sets and share flagged as unknown (5 % allowed), and what moved."""
    names = (
        "coverage",
        "flagged as unknown",
        "new classes flagged as unknown",
        "old predictions unchanged",
        "largest logit change",
    )
    return {
        row: {
            n: summarize([seed_figures[row][n] for seed_figures in figures])
            for n in names
            if n in figures[0][row]
        }
        for row in figures[0]
    }


def evaluate_heads(
    split: ExtensionSplit, seed: int, heads: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Return the metrics of each head, extended and refitted."""
    old_set, full_set = (
        FeatureSet.from_data(split.old, seed),
        FeatureSet.from_data(split.combined, seed),
    )
    figures = {}
    for head in heads:
        extended, report = extend_classifier(old_set.fit(parse(head)), split.new, force=True)
        changes = {
            "old predictions unchanged": float(report.old_agreement or 0),
            "largest logit change": report.max_logit_change,
        }
        figures[f"{head} extended"] = {**_compute_metrics(extended, split), **changes}
        figures[f"{head} refitted"] = _compute_metrics(full_set.fit(parse(head)), split)
    return figures


def _compute_metrics(classifier: Classifier, split: ExtensionSplit) -> dict[str, float]:
    y, is_new = split.test.y, split.test.y >= len(split.old.classes)
    batch = classifier.score_batch(split.test.x)
    is_correct = batch.probabilities.argmax(1) == y
    return {
        "accuracy": float(is_correct.mean()),
        "accuracy on old classes": float(is_correct[~is_new].mean()),
        "accuracy on new classes": float(is_correct[is_new].mean()),
        "calibration error": calibration_error(y, batch.probabilities),
        "coverage": CoverageReport.from_sets(batch.prediction_sets, y).coverage.value,
        "flagged as unknown": float(batch.is_unknown.mean()),
        "new classes flagged as unknown": float(batch.is_unknown[is_new].mean()),
    }


def split_digits() -> Iterator[ExtensionSplit]:
    """Yield splits of scikit-learn's digits, 70/30; each adds another class."""
    data = datasets.read_digits()
    for seed in range(SEEDS):
        order = np.random.default_rng(seed).permutation(len(data))
        yield split_new_classes(
            data.take(order[540:]), data.take(order[:540]), [(2 * seed + 1) % 10]
        )


def split_cifar() -> Iterator[ExtensionSplit]:
    """Yield splits of CIFAR-10: 100 rows per class of the training part, 100 of the test part."""
    train, test = datasets.read_cifar("train"), datasets.read_cifar("test")
    for seed in range(SEEDS):
        yield split_new_classes(
            _sample_per_class(train, 100, seed),
            _sample_per_class(test, 100, seed),
            [(2 * seed + 1) % 10],
        )


def split_omniglot() -> Iterator[ExtensionSplit]:
    """Yield splits of 136 characters, 15 training and 5 test drawings each; ten are added."""
    data = datasets.read_omniglot(1)
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        test_rows = np.concatenate(
            [rng.permutation(np.flatnonzero(data.y == c))[:5] for c in range(data.k)]
        )
        train_rows = np.setdiff1d(np.arange(len(data)), test_rows)
        yield split_new_classes(
            data.take(train_rows), data.take(test_rows), rng.permutation(data.k)[:10]
        )


def _sample_per_class(data: Data, n_per_class: int, seed: int) -> Data:
    rng = np.random.default_rng(seed)
    rows = [rng.permutation(np.flatnonzero(data.y == c))[:n_per_class] for c in range(data.k)]
    return data.take(np.concatenate(rows))


def split_new_classes(train: Data, test: Data, classes: Iterable[int]) -> ExtensionSplit:
    """Split the training rows by class; `classes` become the last ones."""
    new_classes = list(classes)
    order = [c for c in range(train.k) if c not in new_classes] + new_classes
    new_index = np.argsort(order)
    names, k = tuple(train.classes[c] for c in order), train.k - len(new_classes)
    y, is_new = new_index[train.y], np.isin(train.y, new_classes)
    return ExtensionSplit(
        Data(train.x[~is_new], y[~is_new], names[:k]),
        Data(train.x[is_new], y[is_new] - k, names[k:]),
        Data(test.x, new_index[test.y], names),
    )
