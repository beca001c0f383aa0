"""Data sets with half of the classes unlabelled, and the tables of the results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from benchmarks import datasets
from benchmarks.claims import Claim, make_table
from ilk.core.data import Data
from ilk.maths.clustering_accuracy import ClusteringAccuracy
from ilk.maths.pca import fit_pca

SEEDS, N_ROWS, N_AXES = range(200, 205), 1200, 50
KMEANS = "k-means, known number"

Tables = list[dict[str, Any]]


@dataclass(frozen=True)
class DiscoveryScores:
    """Results of each method, one entry per seed."""

    by_method: dict[str, list[ClusteringAccuracy]] = field(default_factory=dict)
    count_errors: dict[str, list[float]] = field(default_factory=dict)
    strict: dict[str, list[float]] = field(default_factory=dict)

    def add(
        self,
        name: str,
        result: ClusteringAccuracy,
        count_error: float | None = None,
        strict: float | None = None,
    ) -> None:
        """Add the result of one seed; `count_error` is the estimated minus the true number.

        `strict` is the accuracy with old names pinned, for methods that know names.
        """
        self.by_method.setdefault(name, []).append(result)
        if strict is not None:
            self.strict.setdefault(name, []).append(strict)
        if count_error is not None:
            self.count_errors.setdefault(name, []).append(abs(count_error))

    def make_tables(
        self, setting: str, claims: Sequence[Claim], count_claims: Sequence[Claim]
    ) -> Tables:
        """Return accuracy on all, old and new rows, and the error of the number of classes."""
        results = []
        for part, row_kind in (("overall", "all"), ("old", "old"), ("new", "new")):
            scores = {name: [getattr(m, part) for m in v] for name, v in self.by_method.items()}
            metric = f"matched accuracy, {row_kind} rows without a label"
            results.append(make_table(setting, metric, scores, claims if part == "overall" else ()))
        if self.strict:
            pinned = [c for c in claims if {c.method, c.baseline} <= self.strict.keys()]
            metric = "strict accuracy (old names pinned), all rows without a label"
            results.append(make_table(setting, metric, self.strict, pinned))
        metric = "error of the number of classes"
        return [*results, make_table(setting, metric, self.count_errors, count_claims, "lower")]


def list_datasets(small: bool) -> dict[str, Callable[[int], Data]]:
    """Return a function of the seed that draws each data set."""
    if small:
        return {"digits": lambda seed: _sample_rows(datasets.read_digits(), 300, seed)}
    return {
        "digits": lambda seed: _sample_rows(datasets.read_digits(), N_ROWS, seed),
        "pendigits": lambda seed: _sample_rows(datasets.read_pendigits()[0], N_ROWS, seed),
        "letters": lambda seed: _sample_rows(datasets.read_letters(), 1500, seed),
        "MNIST": lambda seed: _project(_sample_rows(datasets.read_mnist("test"), N_ROWS, seed)),
        "Fashion-MNIST": lambda seed: _project(
            _sample_rows(datasets.read_fashion("test"), N_ROWS, seed)
        ),
        "CIFAR-10": lambda seed: _project(_sample_rows(datasets.read_cifar("test"), N_ROWS, seed)),
        "Omniglot alphabet": lambda seed: _project(_load_alphabet()),
    }


def _sample_rows(data: Data, n_rows: int, seed: int) -> Data:
    return data.take(np.random.default_rng(seed).permutation(len(data))[:n_rows])


def _project(data: Data) -> Data:
    return replace(data, x=fit_pca(data.x).scores[:, :N_AXES].astype(np.float32))


def _load_alphabet() -> Data:
    """Load the alphabet of small set 1 with the most characters."""
    all_characters = datasets.read_omniglot()
    largest = int(np.bincount(all_characters.domain).argmax())
    subset = all_characters.take(all_characters.domain == largest)
    names, y = np.unique(subset.y, return_inverse=True)
    return Data(subset.x, y, tuple(all_characters.classes[c] for c in names))
