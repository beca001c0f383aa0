"""Suggested groups: sure images of known classes, and clusters of what is new."""

import numpy as np
import pytest

from ilk.labelling.groups import MAX_SIZE, SURE, group_rows
from ilk.labelling.learner import Snapshot, to_unit_rows


def make_snapshot(probabilities):
    p = np.asarray(probabilities, np.float32)
    classes = tuple("abc"[: p.shape[1]])
    return Snapshot(4, classes, p, np.zeros(0, np.int64), np.zeros((0, p.shape[1])), 0.0)


def draw_clusters(sizes, seed=0, noise=0.15):
    """Unit rows about axes, `sizes[c]` of them about axis c, and the axis of each."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(len(sizes)), sizes)
    x = np.eye(len(sizes), 12)[truth] + noise * rng.standard_normal((len(truth), 12))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32), truth


def test_sure_images_of_a_known_class_come_with_the_surest_first():
    sure = np.array([0.99, 0.91, 0.5, 0.95, SURE + 0.001, 0.3, 0.97])
    p = np.column_stack([sure, 1 - sure])
    x = draw_clusters([7])[0]
    y = np.full(7, -1)
    can_group = np.arange(7) != 6
    [group] = [
        g for g in group_rows(x, y, can_group, make_snapshot(p)) if g.known_class is not None
    ]
    assert group.known_class == 0
    assert group.rows.tolist() == [0, 3, 1, 4]
    assert group.probability == pytest.approx((0.99 + 0.95 + 0.91 + 0.901) / 4)


def test_a_group_is_bounded_and_what_is_sure_beyond_it_is_in_no_new_group():
    n = MAX_SIZE + 30
    p = np.column_stack([np.full(n, 0.95), np.full(n, 0.05)])
    x = draw_clusters([n // 2, n - n // 2])[0]
    groups = group_rows(x, np.full(n, -1), np.ones(n, bool), make_snapshot(p))
    assert [(g.known_class, len(g.rows)) for g in groups] == [(0, MAX_SIZE)]


def test_without_labels_groups_are_the_clusters_and_the_most_typical_image_is_first():
    x, truth = draw_clusters([30, 20, 10])
    groups = group_rows(x, np.full(60, -1), np.ones(60, bool), None)
    assert [g.known_class for g in groups] == [None] * 3
    assert [len(g.rows) for g in groups] == [30, 20, 10]  # the largest first
    for c, group in enumerate(groups):
        assert set(truth[group.rows]) == {c}
        distance = np.linalg.norm(x[group.rows] - x[truth == c].mean(0), axis=1)
        assert (np.diff(distance) >= -1e-6).all()


def test_images_like_those_of_known_classes_are_in_no_new_group():
    x, truth = draw_clusters([30, 30, 25])
    y = np.full(85, -1)
    y[[0, 1, 2, 3, 30, 31, 32, 33]] = [0] * 4 + [1] * 4
    unsure = make_snapshot(np.full((85, 2), 0.5))
    groups = group_rows(x, y, np.ones(85, bool), unsure)
    members = np.concatenate([g.rows for g in groups])
    assert all(g.known_class is None for g in groups)
    assert (truth[members] == 2).mean() > 0.9
    assert set(np.flatnonzero(truth == 2)) <= set(members)


def test_unit_rows_are_directions_from_the_mean_direction():
    rng = np.random.default_rng(1)
    z = (rng.standard_normal((50, 6)) + 5 * np.eye(6)[0]).astype(np.float32)
    units = to_unit_rows(z)
    np.testing.assert_allclose(np.linalg.norm(units, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(units, to_unit_rows(3 * z), atol=1e-5)
    assert abs(units[:, 0].mean()) < 0.2  # what all have in common is taken away
