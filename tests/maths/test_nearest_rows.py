"""The nearest rows by blocks are those of a plain sort."""

from __future__ import annotations

import numpy as np
import pytest

from ilk.maths import nearest_rows
from ilk.maths.nearest_rows import find_nearest_rows, to_unit
from ilk.maths.top_k import CROWDED


@pytest.mark.parametrize("block_values", [1, 64, 2**23])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_equals_a_sort(block_values, dtype, monkeypatch):
    monkeypatch.setattr(nearest_rows, "BLOCK_VALUES", block_values)
    monkeypatch.setattr(nearest_rows, "BLOCK_QUERIES", 7)
    rng = np.random.default_rng(0)
    rows, queries = rng.normal(size=(50, 9)).astype(dtype), rng.normal(size=(20, 9)).astype(dtype)
    index, similarity = find_nearest_rows(queries, rows, 5)
    a, b = queries.astype(np.float64), rows.astype(np.float64)
    cosine = (a @ b.T) / np.linalg.norm(a, axis=1)[:, None] / np.linalg.norm(b, axis=1)
    assert np.array_equal(index, np.argsort(-cosine, axis=1)[:, :5])
    assert similarity == pytest.approx(np.sort(cosine, axis=1)[:, ::-1][:, :5], abs=1e-5)


@pytest.mark.parametrize("block_values", [1, 2**23])
def test_a_row_is_not_its_own_neighbour(block_values, monkeypatch):
    monkeypatch.setattr(nearest_rows, "BLOCK_VALUES", block_values)
    x = np.random.default_rng(1).normal(size=(30, 4))
    x[7] = x[3] * 5  # the same direction
    index, similarity = find_nearest_rows(x, x, 3, own=np.arange(30))
    assert not (index == np.arange(30)[:, None]).any()
    assert index[7, 0] == 3
    assert index[3, 0] == 7
    assert similarity[3, 0] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("own", [None, np.arange(40, 46)])
def test_a_block_with_very_many_candidates_is_cut_down_first(own):
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(200, 5))
    queries = rows[40:46] + 0.01
    assert len(rows) > 2 * CROWDED
    index, _ = find_nearest_rows(queries, rows, 2, own=own)
    cosine = (queries @ rows.T) / np.linalg.norm(rows, axis=1)
    if own is not None:
        cosine[np.arange(6), own] = -np.inf
    assert np.array_equal(index, np.argsort(-cosine, axis=1)[:, :2])


def test_fewer_rows_than_asked_for():
    x = np.eye(3)
    index, similarity = find_nearest_rows(x, x, 5, own=np.arange(3))
    assert (index[:, :2] >= 0).all()
    assert (index[:, 2:] == -1).all()
    assert np.isneginf(similarity[:, 2:]).all()


def test_equal_rows_come_in_order():
    x = np.ones((3000, 2), np.float32)
    index, similarity = find_nearest_rows(x[:5], x, 4)
    assert (similarity > 0.999).all()
    assert (np.diff(index, axis=1) > 0).all()


def test_rows_of_zeros_and_of_huge_values():
    x = np.array([[0, 0], [3e38, 3e38], [1e-30, 1e-30]], np.float32)
    unit = to_unit(x)
    assert np.isfinite(unit).all()
    assert np.linalg.norm(unit, axis=1) == pytest.approx([0, 1, 1], abs=1e-6)


def test_wrong_sizes():
    with pytest.raises(ValueError, match="at least 1"):
        find_nearest_rows(np.ones((1, 2)), np.ones((1, 2)), 0)
    with pytest.raises(ValueError, match="3 features"):
        find_nearest_rows(np.ones((1, 2)), np.ones((1, 3)), 1)


def test_counts_queries():
    done = []
    find_nearest_rows(np.ones((2500, 1)), np.ones((3, 1)), 1, advance=done.append)
    assert sum(done) == 2500
