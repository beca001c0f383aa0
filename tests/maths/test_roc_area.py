"""The area under the ROC curve and its interval, and the overlap of regions."""

from __future__ import annotations

import numpy as np
import pytest

from ilk.maths.roc_area import compute_region_overlap, compute_roc_area, estimate_roc_area


def test_the_area_is_scikit_learns_with_ties() -> None:
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 6, 70), rng.integers(2, 9, 30)
    truth = roc_auc_score(np.repeat([0, 1], [70, 30]), np.append(a, b))
    assert compute_roc_area(a, b) == pytest.approx(truth)


@pytest.mark.parametrize("ties", [False, True])
def test_the_area_of_weighted_rows_is_scikit_learns(ties: bool) -> None:
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    a, b = rng.standard_normal(50), rng.standard_normal(30) + 1
    if ties:
        a, b = a.round(), b.round()
    u, v = rng.uniform(0.1, 2, 50), rng.uniform(0.1, 2, 30)
    y, scores = np.repeat([0, 1], [50, 30]), np.append(a, b)
    truth = roc_auc_score(y, scores, sample_weight=np.append(u, v))
    assert compute_roc_area(a, b, u, v) == pytest.approx(truth)
    only_normal = roc_auc_score(y, scores, sample_weight=np.append(u, np.ones(30)))
    assert compute_roc_area(a, b, u) == pytest.approx(only_normal)


def test_the_interval_covers_and_has_a_width_at_one() -> None:
    from scipy.stats import norm

    rng, covered = np.random.default_rng(0), []
    for shift in (0.5, 1.5, 2.5):
        truth = norm.cdf(shift / np.sqrt(2))
        for _ in range(200):
            found = estimate_roc_area(rng.normal(0, 1, 30), rng.normal(shift, 1, 20))
            assert found.low <= found.value <= found.high
            covered.append(found.low <= truth <= found.high)
    assert 0.92 < np.mean(covered) < 0.99
    perfect = estimate_roc_area(np.zeros(20), np.ones(20))
    assert perfect.value == perfect.high == 1
    assert 0.75 < perfect.low < 0.98


def test_the_overlap_counts_regions_and_not_pixels() -> None:
    normal = np.linspace(0, 1, 1000)
    large, small = np.full(900, 2.0), np.full(10, -1.0)
    assert compute_region_overlap(normal, [large]) == pytest.approx(1)
    assert compute_region_overlap(normal, [large, small]) == pytest.approx(0.5)
    chance = compute_region_overlap(normal, [np.linspace(0, 1, 500)])
    assert chance == pytest.approx(0.15, abs=0.01)  # the mean of a line from 0 to 0.3
