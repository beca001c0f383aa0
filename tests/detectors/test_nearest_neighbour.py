"""Cosine distance to the nearest normal rows, against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from ilk.core.data import Data
from ilk.detectors.nearest_neighbour import NearestNeighbour


def draw(n: int, seed: int) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal((n, 7)) + 1).astype(np.float32)


def unlabelled(x: np.ndarray, group: np.ndarray | None = None) -> Data:
    group = np.full(len(x), -1) if group is None else group
    return Data(x, np.full(len(x), -1), (), group=group)


@pytest.mark.parametrize("neighbours", [1, 3])
def test_scores_are_those_of_scipy(neighbours: int) -> None:
    x, new = draw(80, 0), draw(30, 1)
    model = NearestNeighbour(neighbours).fit(unlabelled(x))
    expected = np.sort(cdist(new, x, "cosine"), axis=1)[:, :neighbours].mean(1)
    np.testing.assert_allclose(model.score(new), expected, atol=1e-6)
    own = cdist(x, x, "cosine")
    np.fill_diagonal(own, np.inf)
    left_out = np.sort(np.sort(own, axis=1)[:, :neighbours].mean(1))
    np.testing.assert_allclose(model.calibration_scores, left_out, atol=1e-6)


def test_length_does_not_count() -> None:
    x, new = draw(40, 0), draw(9, 1)
    model = NearestNeighbour().fit(unlabelled(x * np.linspace(0.1, 9, 40)[:, None]))
    np.testing.assert_allclose(
        model.score(7 * new), NearestNeighbour().fit(unlabelled(x)).score(new), atol=1e-6
    )


def test_a_row_is_scored_without_its_group() -> None:
    x, group = np.repeat(draw(50, 0), 3, axis=0), np.arange(150) // 3
    model = NearestNeighbour().fit(unlabelled(x, group))
    single = NearestNeighbour().fit(unlabelled(draw(50, 0)))
    np.testing.assert_allclose(model.calibration_scores[::3], single.calibration_scores, atol=1e-6)
    assert model.n_votes == 50
    assert NearestNeighbour().fit(unlabelled(x)).calibration_scores.max() < 1e-6
