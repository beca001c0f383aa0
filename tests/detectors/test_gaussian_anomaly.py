"""The Gaussian of what is normal: its distances are scikit-learn's, its thresholds keep a rate."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import chi2, multivariate_normal, spearmanr

from ilk.artifacts.pack import pack, unpack
from ilk.core.data import Data
from ilk.core.errors import InputError, NoLabels
from ilk.detectors.gaussian_anomaly import GaussianAnomaly
from ilk.maths.alarm_threshold import MAX_SCORE


def rows(n, d, seed=0, offset=0.0):
    """Correlated Gaussian rows whose variances fall over three decades."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(np.random.default_rng(99).standard_normal((d, d)))[0]
    return rng.standard_normal((n, d)) * np.geomspace(1, 0.03, d) @ turn + offset


def normal(x):
    return Data(x, np.full(len(x), -1), ())


@pytest.mark.parametrize(("n", "d"), [(200, 5), (30, 12), (12, 30), (8, 1), (3, 6)])
def test_distances_are_those_of_scikit_learns_ledoit_wolf(n, d):
    from sklearn.covariance import LedoitWolf

    x, new = rows(n, d), rows(40, d, seed=1)
    theirs = LedoitWolf().fit(x).mahalanobis(new)
    ours = GaussianAnomaly().fit(normal(x)).score(new)
    np.testing.assert_allclose(ours**2, theirs, rtol=1e-8)


def test_the_score_falls_as_the_density_rises():
    x, new = rows(5000, 4), rows(60, 4, seed=1)
    model = GaussianAnomaly().fit(normal(x))
    density = multivariate_normal(x.mean(0), np.cov(x.T)).logpdf(new)
    assert spearmanr(model.score(new), -density).statistic > 0.99


@pytest.mark.parametrize("end", ["leading", "trailing"])
def test_one_end_of_the_axes_is_pca_and_ledoit_wolf_in_it(end):
    from sklearn.covariance import LedoitWolf
    from sklearn.decomposition import PCA

    x, new = rows(300, 10), rows(40, 10, seed=1)
    pca = PCA().fit(x)
    held = np.cumsum(pca.explained_variance_ratio_)
    edge = int(np.flatnonzero(held >= 0.9)[0])
    assert 0 < edge < 9
    cut = slice(0, edge + 1) if end == "leading" else slice(edge, None)
    inner = LedoitWolf().fit(pca.transform(x)[:, cut])
    theirs = inner.mahalanobis(pca.transform(new)[:, cut])
    model = GaussianAnomaly(components=end, explained_variance=0.9).fit(normal(x))
    assert model.degrees_of_freedom == len(range(10)[cut])
    np.testing.assert_allclose(model.score(new) ** 2, theirs, rtol=1e-6)


def test_the_thresholds_of_the_law_hold_where_the_gaussian_is_known():
    model = GaussianAnomaly().fit(normal(rows(20_000, 6)))
    scores = model.score(rows(20_000, 6, seed=1))
    for rate in (0.01, 0.05, 0.2):
        assert model.compute_chi_square_threshold(rate) == pytest.approx(
            np.sqrt(chi2.ppf(1 - rate, 6))
        )
        assert np.mean(scores > model.compute_chi_square_threshold(rate)) == pytest.approx(
            rate, rel=0.15
        )
        assert np.mean(scores > model.compute_threshold(rate)) == pytest.approx(rate, rel=0.15)


def test_with_few_rows_the_law_is_off_and_held_out_rows_are_not():
    law, held = [], []
    for seed in range(40):
        model = GaussianAnomaly(seed=seed).fit(normal(rows(60, 20, seed)))
        scores = model.score(rows(400, 20, 1000 + seed))
        law.append(np.mean(scores > model.compute_chi_square_threshold(0.1)))
        held.append(np.mean(scores > model.compute_threshold(0.1)))
    assert np.mean(law) < 0.05  # shrinkage takes the narrow directions for wide ones
    assert 0.07 < np.mean(held) < 0.115


def test_the_calibrated_threshold_is_the_conformal_quantile_of_held_out_rows():
    x = rows(59, 5)
    model = GaussianAnomaly().fit(normal(x))
    assert len(model.calibration_scores) == 59
    assert (np.diff(model.calibration_scores) >= 0).all()
    assert (
        model.compute_threshold(0.1) == model.calibration_scores[53]
    )  # the 54th of 59: (59 + 1) * 0.9
    assert model.compute_threshold(1 / 60) == model.calibration_scores[58]
    assert model.compute_threshold(1 / 61) == MAX_SCORE
    seen = np.sort(model.score(x))
    assert np.mean(model.calibration_scores) > np.mean(seen) * 1.02


def test_normal_is_the_first_class_or_every_row_where_none_has_a_label():
    x = rows(60, 4)
    y = np.repeat([0, 1, -1], 20)
    labelled = GaussianAnomaly().fit(Data(x, y, ("fine", "broken")))
    alone = GaussianAnomaly().fit(normal(x[:20]))
    np.testing.assert_array_equal(labelled.score(x), alone.score(x))
    bare = GaussianAnomaly().fit(Data(x, np.full(60, -1), ("fine", "broken")))
    np.testing.assert_array_equal(bare.score(x), GaussianAnomaly().fit(normal(x)).score(x))


def test_unlearnable_data_raises_input_error():
    x = rows(6, 4)
    with pytest.raises(NoLabels, match="'fine', as normal, and no row"):
        GaussianAnomaly().fit(Data(x, np.ones(6, int), ("fine", "broken")))
    with pytest.raises(InputError, match="there are none"):
        GaussianAnomaly().fit(normal(x[:0]))
    with pytest.raises(InputError, match="encode the images first"):
        GaussianAnomaly().fit(normal(x.reshape(6, 2, 2)))
    model = GaussianAnomaly().fit(normal(x))
    for rate in (0, 1, -0.1):
        with pytest.raises(InputError, match="false-alarm rate"):
            model.compute_threshold(rate)
        with pytest.raises(InputError, match="false-alarm rate"):
            model.compute_chi_square_threshold(rate)


@pytest.mark.parametrize(
    ("field", "value"), [("components", "middle"), ("explained_variance", 1.0), ("folds", 1)]
)
def test_invalid_settings_are_rejected(field, value):
    with pytest.raises(ValueError, match=field):
        GaussianAnomaly(**{field: value})


def test_two_rows_give_a_sphere_without_rounding_artifacts():
    x = rows(2, 6)
    model = GaussianAnomaly().fit(normal(x))
    off = rows(9, 6, seed=1)
    lengths = np.linalg.norm(off - x.mean(0), axis=1)
    np.testing.assert_allclose(model.score(off) / lengths, model.score(off)[0] / lengths[0])
    without_held_out = GaussianAnomaly().fit(normal(rows(1, 6)))
    assert len(without_held_out.calibration_scores) == 0


@pytest.mark.parametrize("end", [None, "leading", "trailing"])
def test_one_row_and_equal_rows_give_a_distance(end):
    for x in (np.ones((1, 3)), np.ones((7, 3)), np.ones((1, 1))):
        model = GaussianAnomaly(components=end).fit(normal(x))
        np.testing.assert_allclose(model.score(x), 0)
        np.testing.assert_allclose(model.score(x + 2), 2 * np.sqrt(x.shape[1]))
    one = GaussianAnomaly().fit(normal(np.ones((1, 3))))
    assert one.compute_threshold(0.5) == MAX_SCORE


def test_a_constant_feature_and_an_offset_change_no_ranking():
    x, new = rows(80, 5), rows(50, 5, seed=1)
    plain = GaussianAnomaly().fit(normal(x)).score(new)
    far = GaussianAnomaly().fit(normal(x + 1e3)).score(new + 1e3)
    np.testing.assert_allclose(far, plain, rtol=1e-6)
    add = lambda a: np.column_stack([a, np.full(len(a), 3.0)])  # noqa: E731
    same = GaussianAnomaly().fit(normal(add(x))).score(add(new))
    assert np.corrcoef(same, plain)[0, 1] > 0.99
    outliers = add(new[:1])
    outliers[0, -1] = 9
    model = GaussianAnomaly().fit(normal(add(x)))
    assert model.score(outliers) > 3 * model.score(add(new[:1]))


def test_rows_are_scored_independently_and_the_input_is_not_modified():
    x, new = rows(40, 60), rows(9, 60, seed=1).astype(np.float32)
    original = x.copy()
    model = GaussianAnomaly().fit(normal(x))
    np.testing.assert_array_equal(x, original)
    one = np.concatenate([model.score(new[i : i + 1]) for i in range(9)])
    np.testing.assert_allclose(one, model.score(new), rtol=1e-9)
    assert model.score(new[:0]).shape == (0,)
    chunks = np.concatenate([new] * 300)
    np.testing.assert_allclose(model.score(chunks)[-9:], one, rtol=1e-9)


def test_the_same_seed_gives_the_same_detector_and_it_can_be_saved():
    x = rows(40, 6)
    np.random.seed(1)
    first = GaussianAnomaly(seed=3).fit(normal(x))
    np.random.seed(2)
    again = GaussianAnomaly(seed=3).fit(normal(x))
    other = GaussianAnomaly(seed=4).fit(normal(x))
    np.testing.assert_array_equal(first.calibration_scores, again.calibration_scores)
    assert not np.array_equal(first.calibration_scores, other.calibration_scores)
    held = unpack(*pack({"detector": first}))["detector"]
    np.testing.assert_array_equal(held.score(x), first.score(x))
    assert held.compute_threshold(0.1) == first.compute_threshold(0.1)
    assert replace(held, residual_precision=1.0).residual_precision == 1.0
