"""EM on unlabelled rows from class names alone, with and without the number of classes."""

import numpy as np

from benchmarks.names_only import run as names_only
from ilk.core.data import Data
from ilk.core.errors import Unavailable


def test_missing_data_sets_are_left_out(monkeypatch):
    def gone(*_args):
        raise Unavailable("no such folder")

    monkeypatch.setattr(names_only.datasets, "read_mnist", gone)
    assert names_only.run() == {"tables": [], "left out": ["names alone: no such folder"]}


def test_the_known_balance_does_best_where_few_classes_occur():
    """Rows near the places of their names, of which a third could be another's."""
    rng = np.random.default_rng(0)
    names = np.linalg.qr(rng.standard_normal((12, 10)))[0].T
    y = np.repeat(np.arange(10), 60)
    x = names[y] + 0.42 * rng.standard_normal((600, 12))
    data = Data(
        x.astype(np.float32), y, tuple("abcdefghij"), class_embeddings=names.astype(np.float32)
    )
    accuracies = names_only.measure_accuracies(data, 2, rng)
    assert set(accuracies) == {"names only", "ZeroShotEM", *(names_only.SOFT, names_only.HARD)} | {
        names_only.KNOWN_BALANCE
    }
    assert accuracies[names_only.KNOWN_BALANCE] > accuracies["names only"] + 0.05
    assert accuracies[names_only.KNOWN_BALANCE] > accuracies[names_only.SOFT] + 0.03
    assert all(0.3 < right <= 1 for right in accuracies.values())
