"""Out-of-distribution scores by brute force, and a false-alarm rate that is kept."""

from dataclasses import fields

import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis
from scipy.stats import beta

from ilk.core.data import Data
from ilk.core.errors import InputError, NoLabels
from ilk.protocols import stratified_folds
from ilk.trust.out_of_distribution import (
    NO_THRESHOLD,
    OutOfDistributionDetector,
    cross_validate_scores,
    fit_gaussian,
)


def world(d=6, k=3, seed=0):
    """A way to draw rows of k Gaussian classes that share a covariance."""
    rng = np.random.default_rng(seed)
    means, mix = rng.normal(size=(k, d)) * 3, rng.normal(size=(d, d))

    def draw(n):
        y = rng.integers(k, size=n)
        return (means[y] + rng.normal(size=(n, d)) @ mix).astype(np.float32), y

    return draw


def data_of(x, y, k=None):
    return Data(x, y, tuple(map(str, range(k or int(max(y)) + 1))))


def fitted(data, false_alarm=0.05, folds=5):
    fold = stratified_folds(data.y, folds, 0)
    return OutOfDistributionDetector.fit(data, cross_validate_scores(data, fold), false_alarm)


def by_hand(train, x, shrink):
    """min over classes of the squared Mahalanobis distance, with a plain inverse."""
    known = train.take_labelled()
    means = np.stack([known.x[known.y == c].mean(0, dtype=float) for c in np.unique(known.y)])
    place = np.searchsorted(np.unique(known.y), known.y)
    off = known.x - means[place]
    s = off.T @ off / (len(off) - len(means))
    s = (1 - shrink) * s + shrink * np.trace(s) / len(s) * np.eye(len(s))
    inverse = np.linalg.inv(s)
    return np.array([min(mahalanobis(row, m, inverse) ** 2 for m in means) for row in x])


@pytest.mark.parametrize("shrink", [0.0, 0.3, 1.0])
def test_score_is_scipys_distance_to_the_nearest_mean(shrink):
    draw = world()
    train, (x, _) = data_of(*draw(80)), draw(30)
    got = fit_gaussian(train, shrink).score(x)
    np.testing.assert_allclose(got, by_hand(train, x, shrink), rtol=1e-3)


@pytest.mark.parametrize("n", [12, 39, 40, 41])
def test_fewer_rows_than_features_score_the_same_as_the_full_inverse(n):
    """Only the directions in which rows differ are kept; what lies outside still counts."""
    draw = world(d=40)
    train, (x, _) = data_of(*draw(n)), draw(30)
    model = fit_gaussian(train, 0.3)
    np.testing.assert_allclose(model.score(x), by_hand(train, x, 0.3), rtol=1e-3)
    assert model.axes.shape == (40, min(n - 1, 40) if n <= 40 else 40)


def test_unshrunk_distances_do_not_change_with_units_or_axes():
    draw = world()
    (x, y), (new, _) = draw(200), draw(50)
    rng = np.random.default_rng(5)
    turn, shift = rng.normal(size=(6, 6)) * [1, 10, 1, 0.1, 1, 1], rng.normal(size=6)
    plain = fit_gaussian(data_of(x, y), 0.0).score(new)
    transformed = fit_gaussian(data_of(x @ turn + shift, y), 0.0).score(new @ turn + shift)
    np.testing.assert_allclose(plain, transformed, rtol=0.01)


def test_rotation_and_scale_never_matter():
    draw = world()
    (x, y), (new, _) = draw(60), draw(50)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0] * 7
    plain = fit_gaussian(data_of(x, y)).score(new)
    transformed = fit_gaussian(data_of(x @ turn, y)).score(new @ turn)
    np.testing.assert_allclose(plain, transformed, rtol=1e-3)


@pytest.mark.parametrize(
    ("n", "d", "rate"), [(300, 8, 0.05), (300, 8, 0.2), (60, 6, 0.1), (200, 20, 0.05)]
)
def test_false_alarms_come_as_often_as_was_stated(n, d, rate):
    """Over 40 worlds the share of flagged known rows is within the bounds of its own spread.

    The rate of one world, over calibration rows, is Beta distributed (Vovk 2012); the mean over
    worlds may also lie a little below, because folds learn from fewer rows than the final model.
    Scores of the rows that were fitted would flag far more.
    """
    rates = []
    for seed in range(40):
        draw = world(d=d, seed=seed)
        model = fitted(data_of(*draw(n)), rate)
        rates.append(model.flag(draw(300)[0]).mean())
    flagged = np.floor(round((n + 1) * rate, 9))
    one = beta(flagged, n + 1 - flagged)
    error = np.sqrt((one.var() + rate * (1 - rate) / 300) / 40)
    assert np.mean(rates) <= rate + 3 * error
    assert np.mean(rates) >= 0.75 * rate - 3 * error


def test_the_threshold_is_the_rank_from_the_definition():
    data = data_of(*world()(40))
    scores = np.r_[np.arange(19.0), np.full(21, np.nan)]
    assert (
        OutOfDistributionDetector.fit(data, scores, 0.05).threshold == 18
    )  # ceil(20 * 0.95) = 19th of 19
    assert OutOfDistributionDetector.fit(data, scores, 0.10).threshold == 17
    assert OutOfDistributionDetector.fit(data, scores, 0.05).note == ""
    few = OutOfDistributionDetector.fit(data, scores[1:], 0.05)
    assert few.threshold == NO_THRESHOLD
    assert "needs 19 labelled images that can be held out and there are 18" in few.note


def test_far_points_are_found_and_near_ones_are_not():
    draw = world()
    model = fitted(data_of(*draw(400)))
    rng = np.random.default_rng(0)
    way = rng.normal(size=(100, 6))
    far = 1000 * way / np.linalg.norm(way, axis=1, keepdims=True)
    assert model.flag(far.astype(np.float32)).all()
    assert not model.flag(gaussian_means(model)).any()


def gaussian_means(model):
    """The class means, back in feature space."""
    return model.centre + (model.means * model.std) @ model.axes.T


def test_a_point_off_the_training_span_is_far():
    draw = world(d=40)
    x, y = draw(20)
    x[:, -1] = 0
    model = fit_gaussian(data_of(x, y))
    transformed = x.copy()
    transformed[:, -1] = 50
    np.testing.assert_allclose(
        model.score(transformed) - model.score(x), 2500 / model.residual_variance, rtol=1e-3
    )
    assert model.score(transformed).min() > 3 * model.score(x).max()


@pytest.mark.parametrize("constant", [1, 5, 6])
def test_constant_features_are_survived(constant):
    draw = world()
    x, y = draw(100)
    x[:, :constant] = 7
    model = fitted(data_of(x, y))
    assert np.isfinite(model.score(x)).all()
    assert all(np.isfinite(getattr(model, f.name)).all() for f in fields(model))


def test_one_image_per_class_gives_scores_but_no_threshold():
    x, _ = world(k=1)(8)
    data = data_of(x, np.arange(8))
    model = fitted(data)
    np.testing.assert_allclose(model.score(x), 0, atol=1e-5)
    assert model.score(x + 100).min() > 0
    assert model.threshold == NO_THRESHOLD
    assert model.n_rows == 0
    assert not model.flag(x * 1e6).any()
    assert "there are 0: nothing is ever flagged as unknown" in model.note


def test_some_classes_of_one_image_train_only():
    draw = world()
    x, y = draw(60)
    x, y = np.r_[x, x[:2] + 50], np.r_[y, 3, 4]
    data = data_of(x, y)
    scores = cross_validate_scores(data, stratified_folds(y, 5, 0))
    assert np.isnan(scores[-2:]).all()
    assert np.isfinite(scores[:-2]).all()
    assert fitted(data).score(x[-2:]).max() < 1e-3


@pytest.mark.parametrize("d", [6, 60])  # more rows than features, and fewer
def test_a_held_out_score_is_from_the_gaussian_without_the_row(d):
    data = data_of(*world(d=d)(50))
    fold = stratified_folds(data.y, 5, 0)
    scores = cross_validate_scores(data, fold)
    for f in range(5):
        rest = fit_gaussian(data.take(fold != f))
        want = rest.score(data.x[fold == f])  # of axes rounded to float32
        np.testing.assert_allclose(scores[fold == f], want, rtol=3e-6)


def test_rows_without_a_label_and_classes_without_a_row_change_nothing():
    draw = world()
    (x, y), (new, _) = draw(60), draw(20)
    plain = fit_gaussian(data_of(x, y)).score(new)
    more = Data(np.r_[x, new * 9], np.r_[y, np.full(20, -1)], ("a", "b", "c", "never"))
    np.testing.assert_allclose(fit_gaussian(more).score(new), plain, rtol=1e-4)


def test_rows_are_scored_independently_and_empty_input_gives_no_scores():
    draw = world()
    model = fit_gaussian(data_of(*draw(60)))
    x, _ = draw(5000)
    whole = model.score(x)
    np.testing.assert_allclose(model.score(x[4999:]), whole[4999:], rtol=1e-9)
    assert model.score(x[:0]).shape == (0,)


def test_what_is_stored_is_arrays_and_plain_values():
    model = fitted(data_of(*world()(60)))
    for f in fields(model):
        value = getattr(model, f.name)
        assert isinstance(value, np.ndarray | float | int)
        assert not isinstance(value, np.floating | np.integer) or isinstance(value, float)
    assert model.axes.dtype == np.float32


@pytest.mark.parametrize("rate", [0, 1, 5, -0.1])
def test_rates_outside_the_unit_interval_are_rejected(rate):
    data = data_of(*world()(30))
    with pytest.raises(InputError, match=f"the false-alarm rate is {rate}"):
        OutOfDistributionDetector.fit(data, np.zeros(30), rate)


def test_without_labels_there_is_nothing_to_be_like():
    x, _ = world()(10)
    with pytest.raises(NoLabels, match="out-of-distribution detection learns from labelled images"):
        fit_gaussian(Data(x, np.full(10, -1), ("a", "b")))
