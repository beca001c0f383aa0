"""Groups and classes: the pairing, the silhouette, means beside known classes, by slow twins."""

from itertools import permutations

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.metrics import silhouette_score

from ilk.maths.clustering_accuracy import clustering_accuracy, strict_accuracy
from ilk.maths.inverse_temperature import fit_inverse_temperature
from ilk.maths.kmeans import (
    estimate_inverse_temperature,
    estimate_new_clusters,
    fit_kmeans,
    kmeans_plusplus,
    mean_silhouette,
    squared_distances,
)


def blobs(sizes, apart=12.0, dim=3, seed=0):
    """Rows around corners that lie far apart, and which corner each is from."""
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(len(sizes)), sizes)
    corners = apart * np.array([[i % 2, i // 2 % 2, i // 4] for i in range(len(sizes))])
    return (corners[y][:, :dim] + rng.standard_normal((len(y), dim))).astype(np.float32), y


@pytest.mark.parametrize("groups", [2, 4, 6])
def test_matching_is_the_best_of_all_pairings(groups):
    rng = np.random.default_rng(groups)
    truth, answer = rng.integers(0, 4, 60), rng.integers(0, groups, 60)
    names = range(max(groups, 4))
    best = max(
        (np.array(p)[answer] == truth for p in permutations(names)), key=lambda right: right.sum()
    )
    assert clustering_accuracy(truth, answer, 2).overall == pytest.approx(best.mean())


def test_old_and_new_rows_share_one_pairing():
    truth = np.array([0] * 4 + [1] * 4 + [2] * 8)  # 0 and 1 are known
    answer = np.array([0] * 4 + [2] * 4 + [2] * 8)  # class 1 drowns in group 2
    told = clustering_accuracy(truth, answer, 2)
    assert (told.overall, told.old, told.new) == (12 / 16, 4 / 8, 1.0)
    assert np.isnan(clustering_accuracy(truth[:4], answer[:4], 2).new)


def test_groups_beyond_the_classes_are_wrong():
    assert clustering_accuracy(np.zeros(10, int), np.arange(10) // 5, 1).overall == 0.5


def test_silhouette_is_scikit_learns_and_nothing_for_one_group():
    x, _ = blobs((5, 7, 4))
    groups = np.random.default_rng(1).integers(0, 3, len(x))
    groups[0] = 3  # alone
    apart = cdist(x, x)
    assert mean_silhouette(apart, groups) == pytest.approx(silhouette_score(x, groups))
    assert mean_silhouette(apart, np.zeros(len(x), int)) == 0
    assert mean_silhouette(np.zeros((4, 4)), np.array([0, 0, 1, 1])) == 0  # all rows are one point


@pytest.mark.parametrize("fixed", [False, True])
def test_groups_are_a_fixed_point_and_labels_stay(fixed):
    x, truth = blobs((30, 30, 20, 20), apart=3.0)
    y = np.where((truth < 2) & (np.arange(100) % 2 == 0), truth, -1)
    y[0] = 1  # in the middle of class 0, and yet of class 1
    found = fit_kmeans(x, y, 2, fix_known=fixed)
    told = y >= 0
    np.testing.assert_array_equal(found.assignment[told], y[told])
    np.testing.assert_array_equal(
        found.assignment[~told], squared_distances(x[~told], found.centres).argmin(1), strict=True
    )
    for c in range(4):
        rows = (y == c) if fixed and c < 2 else (found.assignment == c)
        np.testing.assert_allclose(found.centres[c], x[rows].mean(0), atol=1e-5)
    off = x - found.centres[found.assignment]
    assert found.inertia == pytest.approx((off**2).sum(), rel=1e-5)


def test_the_tightest_run_is_kept():
    x, _ = blobs((20,) * 6, apart=4.0)
    bare = np.full(len(x), -1)
    runs = [fit_kmeans(x, bare, 6, n_init=n).inertia for n in (1, 3, 10)]
    assert runs == sorted(runs, reverse=True)


def test_no_group_is_empty_even_of_rows_that_are_alike():
    found = fit_kmeans(np.ones((5, 2)), np.array([0, 0, -1, -1, -1]), 2)
    assert set(found.assignment) >= {1, 2}


def test_seeds_are_drawn_by_squared_distance_from_what_stands():
    x = np.array([[0.0], [1.0], [3.0]], np.float32)
    drawn = [
        kmeans_plusplus(x, np.zeros((1, 1), np.float32), 1, np.random.default_rng(s))[0, 0]
        for s in range(2000)
    ]
    assert 0.0 not in drawn
    assert np.mean(np.array(drawn) == 3) == pytest.approx(0.9, abs=0.02)
    both = kmeans_plusplus(x, np.zeros((1, 1), np.float32), 2, np.random.default_rng(0))
    assert set(both.ravel()) == {1.0, 3.0}


@pytest.mark.parametrize("new", [0, 1, 3])
def test_as_many_groups_are_found_as_there_are(new):
    x, truth = blobs((30,) * (2 + new))
    y = np.where((truth < 2) & (np.arange(len(x)) % 2 == 0), truth, -1)
    assert estimate_new_clusters(x, y) == new


def test_groups_are_counted_where_nothing_is_known():
    x, _ = blobs((20, 30, 25))
    assert estimate_new_clusters(x, np.full(len(x), -1)) == 3


def test_no_more_groups_are_tried_than_there_are_rows():
    x, _ = blobs((6, 6))
    y = np.repeat([0, 1], 6)
    assert estimate_new_clusters(x, y) == 0
    y[:1] = -1
    assert estimate_new_clusters(x, y) in (0, 1)


def test_sharpness_is_the_likeliest_with_each_row_left_out():
    x, y = blobs((12, 9, 7), apart=1.5)
    t = estimate_inverse_temperature(x, y, fit_kmeans(x, y, 0))

    def loss(factor):
        told = 0.0
        for i, c in enumerate(y):
            rows = np.arange(len(y)) != i
            means = np.array([x[rows & (y == k)].mean(0) for k in range(3)], float)
            whole = np.array([x[y == k].mean(0) for k in range(3)], float)
            means = np.where(np.arange(3)[:, None] == c, means, whole)
            score = -0.5 * factor * ((x[i] - means) ** 2).sum(1)
            told += np.log(np.exp(score - score.max()).sum()) + score.max() - score[c]
        return told

    assert loss(t) < min(loss(t * 1.1), loss(t / 1.1))


def test_sharpness_of_single_rows_is_that_of_the_spread():
    x, _ = blobs((1, 1, 30))
    y = np.append([0, 1], np.full(30, -1))
    found = fit_kmeans(x, y, 1)
    assert estimate_inverse_temperature(x, y, found) == pytest.approx(x.size / found.inertia)


def test_where_means_are_of_labelled_rows_one_is_left_out_of_these_alone():
    x, truth = blobs([30, 30, 30], apart=3.0)
    y = np.where((truth < 2) & (np.arange(90) % 2 == 0), truth, -1)
    found = fit_kmeans(x, y, 1, fix_known=True)
    rows = np.flatnonzero(y >= 0)
    scores = -0.5 * squared_distances(x[rows], found.centres[:2].astype(float))
    for at, i in enumerate(rows):
        own = x[(y == y[i]) & (np.arange(90) != i)].mean(0, dtype=float)
        scores[at, y[i]] = -0.5 * np.sum((x[i] - own) ** 2)
    want = fit_inverse_temperature(scores, y[rows])
    assert estimate_inverse_temperature(x, y, found, fix_known=True) == pytest.approx(
        want, rel=1e-3
    )
    assert estimate_inverse_temperature(x, y, found) != pytest.approx(want, rel=1e-3)


@pytest.mark.parametrize("seed", range(4))
def test_the_strict_figure_names_only_what_has_no_name(seed):
    """Against all pairings of unnamed groups with new classes; known classes are pinned."""
    rng = np.random.default_rng(seed)
    truth, answer = rng.integers(0, 5, 80), rng.integers(0, 6, 80)  # 2 known classes, 3 new
    best = max(
        (
            np.where(answer < 2, answer, 2 + np.array(p)[np.maximum(answer - 2, 0)]) == truth
            for p in permutations(range(4))
        ),
        key=lambda right: right.sum(),
    )
    strict = strict_accuracy(truth, answer, 2)
    assert strict.overall == pytest.approx(best.mean())
    assert strict.old == pytest.approx(best[truth < 2].mean())
    assert strict.new == pytest.approx(best[truth >= 2].mean())
    assert strict.overall <= clustering_accuracy(truth, answer, 2).overall


def test_known_classes_under_each_others_names_are_wrong_in_the_strict_figure():
    truth, answer = np.array([0, 0, 1, 1, 2, 2]), np.array([1, 1, 0, 0, 7, 7])
    assert clustering_accuracy(truth, answer, 2).overall == 1
    strict = strict_accuracy(truth, answer, 2)
    assert (strict.overall, strict.old, strict.new) == (pytest.approx(1 / 3), 0, 1)
    hidden = strict_accuracy(truth, np.array([5, 5, 1, 1, 7, 7]), 2)  # an old class called new
    assert (hidden.old, hidden.new) == (0.5, 1)
