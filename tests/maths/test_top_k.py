"""The k best rows, block by block, against a full sort."""

from __future__ import annotations

import numpy as np

from ilk.maths.top_k import NO_ID, TopK, find_top_k, measure_overlap


def test_blocks_give_what_a_full_sort_gives_ties_included() -> None:
    rng = np.random.default_rng(0)
    rows = rng.integers(-2, 3, size=(500, 3)).astype(np.float32)  # many ties
    queries = rng.integers(-2, 3, size=(9, 3)).astype(np.float32)
    ids = np.arange(500) * 3 + 1
    full = queries @ rows.T
    for k in (1, 7, 40):
        order = np.lexsort((np.broadcast_to(ids, full.shape), -full), axis=1)[:, :k]
        for block in (16, 64, 1000):
            found, similarity = find_top_k(queries, ids, rows, k, block)
            np.testing.assert_array_equal(found, ids[order])
            np.testing.assert_array_equal(similarity, np.take_along_axis(full, order, 1))


def test_fewer_rows_than_k_leave_places_empty() -> None:
    best = TopK(2, 4)
    best.update(np.array([5, 6]), np.array([[0.1, 0.2], [-np.inf, 0.3]], np.float32))
    assert best.ids.tolist() == [[6, 5, NO_ID, NO_ID], [6, NO_ID, NO_ID, NO_ID]]


def test_overlap_counts_true_ids_that_were_found() -> None:
    found = np.array([[1, 2, 3], [4, 5, NO_ID]])
    true = np.array([[3, 9, 1], [4, 5, NO_ID]])
    np.testing.assert_allclose(measure_overlap(found, true), [2 / 3, 1.0])
