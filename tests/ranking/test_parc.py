"""PARC against Spearman's correlation of scipy, and against the area under the ROC curve."""

import numpy as np
import pytest
from scipy.stats import rankdata, spearmanr

from ilk.core.errors import InputError
from ilk.ranking import parc


def make_rows(seed=0, n=24, k=3, spread=1.0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % k
    return spread * rng.standard_normal((k, 7))[y] + rng.standard_normal((n, 7)), y


def test_the_score_is_spearmans_correlation_of_dissimilarities():
    x, y = make_rows()
    upper = np.triu_indices(len(x), 1)
    of_features = 1 - np.corrcoef(x)[upper]
    of_labels = (1 - np.corrcoef(np.eye(3)[y])[upper]).round(9)  # two values, not nearly
    expected = spearmanr(of_features, of_labels).statistic
    assert parc.score(x, y) == pytest.approx(expected, abs=1e-12)
    np.testing.assert_allclose(parc.compute_dissimilarities(x), of_features)


def test_the_score_follows_from_the_area_under_the_curve():
    """Ranks against a binary variable: r = (2 AUC - 1) sqrt(m0 m1) m / (2 sqrt(m) |ranks|)."""
    x, y = make_rows(1)
    d = parc.compute_dissimilarities(x)
    i, j = np.triu_indices(len(x), 1)
    is_other = y[i] != y[j]
    ranks = rankdata(d)
    m, m1 = len(d), int(is_other.sum())
    auc = (ranks[is_other].sum() - m1 * (m1 + 1) / 2) / (m1 * (m - m1))
    scale = np.sqrt(m) * np.linalg.norm(ranks - ranks.mean())
    assert parc.score(x, y) == pytest.approx(
        (2 * auc - 1) * m / 2 * np.sqrt(m1 * (m - m1)) / scale, abs=1e-12
    )


def test_separated_classes_reach_the_bound_and_random_labels_do_not():
    x, y = make_rows(2, n=40, k=2, spread=300.0)
    i, j = np.triu_indices(40, 1)
    p = np.mean(y[i] != y[j])
    assert parc.score(x, y) == pytest.approx(np.sqrt(3 * p * (1 - p)), abs=0.01)
    shuffled = [parc.score(x, np.random.default_rng(s).permutation(y)) for s in range(20)]
    assert abs(np.mean(shuffled)) < 0.05


def test_scale_and_offset_of_a_row_change_nothing_and_constant_rows_are_not_alike():
    x, y = make_rows(3)
    factors = np.random.default_rng(0).uniform(0.5, 2, (len(x), 1))
    assert parc.score(factors * x + 5 * factors, y) == pytest.approx(parc.score(x, y))
    d = parc.compute_dissimilarities(np.array([[1.0, 1, 1], [2, 2, 2], [0, 1, 2]]))
    np.testing.assert_array_equal(d, 1.0)
    assert parc.score(np.ones((6, 4)), np.arange(6) % 2) == 0.0


def test_many_images_are_sampled_without_regard_to_their_order():
    x, y = make_rows(4, n=300, spread=0.7)
    whole, part = parc.score(x, y), parc.score(x, y, max_images=120)
    order = np.random.default_rng(1).permutation(300)
    assert part == parc.score(x[order], y[order], max_images=120) != whole
    assert part == pytest.approx(whole, abs=0.1)
    with pytest.raises(InputError, match="max_images is 1; it must be at least 2"):
        parc.score(x, y, max_images=1)
