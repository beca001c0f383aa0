"""More like these, less like those."""

from __future__ import annotations

import numpy as np

from ilk.maths.rocchio import move_query

NONE = np.zeros((0, 3), np.float32)


def test_the_formula_by_hand() -> None:
    a, b, c = np.eye(3, dtype=np.float32)
    moved = move_query(a[None], np.stack([b, a]), c[None], gamma=0.5)
    by_hand = np.array([1 + 0.75 / 2, 0.75 / 2, -0.5])
    np.testing.assert_allclose(moved, by_hand / np.linalg.norm(by_hand), rtol=1e-6)


def test_without_a_query_what_is_liked_leads_and_cancelling_gives_zero() -> None:
    a, b, _ = np.eye(3, dtype=np.float32)
    np.testing.assert_allclose(move_query(NONE, a[None], NONE), a)
    assert not move_query(NONE, b[None], b[None], gamma=0.75).any()
