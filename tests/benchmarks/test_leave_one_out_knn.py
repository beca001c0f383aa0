"""Superclasses and hidden classes, and the effective rank."""

import json

import numpy as np
import pytest

from benchmarks.leave_one_out_knn import run as look
from benchmarks.leave_one_out_knn import sets
from ilk.core.data import Data


@pytest.fixture
def digits(monkeypatch):
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(10), 60)
    x = rng.random((10, 784))[y] + 0.1 * rng.random((600, 784))
    data = Data(x.astype(np.float32), y, tuple("0123456789"))
    monkeypatch.setattr(sets, "read_mnist", lambda _part: data)


def test_superclasses_hold_whole_classes_and_parts_share_no_row(digits):
    parts = sets.read_rows("mnist", 0, small=True)
    for rows in parts.values():
        np.testing.assert_array_equal(rows.coarse, rows.fine % 2)
    rows = np.concatenate([p.x for p in parts.values()])
    assert len(np.unique(rows, axis=0)) == len(rows)


def test_the_effective_rank_is_the_number_of_equal_axes():
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.normal(size=(8, 3)))[0]
    x = (rng.normal(size=(4000, 3)) @ axes.T + 5).astype(np.float32)
    assert look.measure_rank(x, np.zeros(4000, int)) == pytest.approx(3, abs=0.02)


def test_the_benchmark_runs(digits):
    result = json.loads(json.dumps(look.run(small=True), allow_nan=False))
    table = result["tables"][0]
    assert {row["method"] for row in table["scores"]} > {look.LOOK, look.EARLY, look.UNTRAINED}
    assert len(table["claims"]) == 3
