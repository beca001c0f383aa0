"""The greedy coreset against a brute-force second derivation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from ilk.maths.coreset import draw_projection, select_coreset


def choose_by_brute_force(x: np.ndarray, size: int) -> list[int]:
    """Choose the row that is farthest from those chosen, from all distances at every step."""
    distances = cdist(x, x)
    chosen = [int(np.argmin(np.linalg.norm(x - x.mean(0), axis=1)))]
    while len(chosen) < size:
        chosen.append(int(distances[:, chosen].min(1).argmax()))
    return chosen


@pytest.mark.parametrize("seed", range(3))
def test_the_coreset_is_that_of_brute_force(seed: int) -> None:
    x = np.random.default_rng(seed).standard_normal((200, 6)).astype(np.float32)
    assert select_coreset(x, 40, 64, 0).tolist() == choose_by_brute_force(x.astype(float), 40)


def test_wide_rows_are_compared_in_a_projection() -> None:
    x = np.random.default_rng(0).standard_normal((60, 300)).astype(np.float32)
    projected = (x - x.mean(0)) @ draw_projection(300, 16, 5)
    assert select_coreset(x, 12, 16, 5).tolist() == choose_by_brute_force(projected, 12)


def test_a_rare_cluster_is_covered_before_a_dense_one_is_filled() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, 0.1, (500, 3)), rng.normal(9, 0.1, (3, 3))])
    assert (select_coreset(x.astype(np.float32), 2, 64, 0) >= 500).sum() == 1


def test_no_row_is_chosen_twice_where_all_are_equal() -> None:
    assert sorted(select_coreset(np.ones((9, 4), np.float32), 9, 64, 0)) == list(range(9))


def test_the_radius_is_at_most_twice_the_least() -> None:
    from itertools import combinations

    x = np.random.default_rng(1).standard_normal((14, 2)).astype(np.float32)
    distances = cdist(x, x)
    least = min(distances[:, list(c)].min(1).max() for c in combinations(range(14), 4))
    ours = distances[:, select_coreset(x, 4, 64, 0)].min(1).max()
    assert ours <= 2 * least
