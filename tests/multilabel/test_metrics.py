"""Average precision, calibration and thresholds agree with second derivations."""

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.metrics import average_precision_score, f1_score

from ilk.multilabel.average_precision import (
    average_precision,
    draw_counts,
    estimate_interval,
    mean_average_precision,
)
from ilk.multilabel.calibration import LabelCalibration, cross_calibrate_labels, sigmoid
from ilk.multilabel.metrics import score_labels
from ilk.multilabel.thresholds import LabelThresholds, cross_predict, fit_thresholds


def draw(n=200, k=4, seed=0, decimals=1):
    """Targets and scores with many ties."""
    rng = np.random.default_rng(seed)
    targets = rng.random((n, k)) < np.linspace(0.05, 0.5, k)
    return targets, np.round(targets + rng.normal(size=(n, k)), decimals)


def test_average_precision_with_ties_equals_scikit_learns():
    targets, scores = draw()
    ours = [average_precision(t, s)[0] for t, s in zip(targets.T, scores.T, strict=True)]
    theirs = average_precision_score(targets, scores, average=None)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_each_bootstrap_draw_is_the_average_precision_of_the_drawn_rows():
    targets, scores = draw(60)
    counts = draw_counts(60, 20)
    assert (counts.sum(1) == 60).all()
    for drawn, value in zip(counts, mean_average_precision(targets, scores, counts), strict=True):
        rows = np.repeat(np.arange(60), drawn.astype(int))
        has_rows = targets[rows].any(0)
        reference = average_precision_score(
            targets[rows][:, has_rows], scores[rows][:, has_rows], average="macro"
        )
        assert value == pytest.approx(reference, rel=1e-5)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    truth = float(mean_average_precision(*draw(20_000, decimals=9))[0])
    hits = 0
    for seed in range(1, 61):
        targets, scores = draw(150, seed=seed, decimals=9)
        interval = estimate_interval(targets, scores, draw_counts(150, 200, seed))
        assert interval.low <= interval.value <= interval.high
        hits += interval.low <= truth <= interval.high
    assert hits >= 52  # 93 % of 300 draws; the percentiles of the draws cover 86 %


def test_whole_groups_are_drawn():
    group = np.repeat(np.arange(10), 3)
    counts = draw_counts(30, 5, 0, group)
    assert all((counts[:, 3 * g] == counts[:, group == g].T).all() for g in range(10))


def test_rows_without_a_score_are_left_out_for_their_label_only():
    targets, scores = draw()
    scores[:50, 0] = np.nan
    expected = [average_precision_score(targets[50:, 0], scores[50:, 0])]
    expected += [average_precision_score(targets[:, c], scores[:, c]) for c in (1, 2, 3)]
    assert mean_average_precision(targets, scores)[0] == pytest.approx(np.mean(expected))


def test_calibration_minimizes_platts_loss():
    targets, margins = draw(150, 2, decimals=3)
    calibration = LabelCalibration.fit(7 + 3 * margins, targets)
    for c in range(2):
        y, z = targets[:, c], 7 + 3 * margins[:, c]
        n_positive = y.sum()
        t = np.where(y, (n_positive + 1) / (n_positive + 2), 1 / (150 - n_positive + 2))
        result = minimize(
            lambda ab, z=z, t=t: np.sum(
                np.logaddexp(0, ab[0] * z + ab[1]) - t * (ab[0] * z + ab[1])
            ),
            [0.0, 0.0],
            method="BFGS",
            options={"gtol": 1e-7},
        )
        assert (calibration.slope[c], calibration.intercept[c]) == pytest.approx(
            tuple(result.x), rel=1e-3
        )


def test_calibration_never_reverses_the_order_and_is_sure_of_nothing():
    z = np.linspace(-1, 1, 40)
    reversed_labels = LabelCalibration.fit(z[:, None], (z < 0)[:, None])
    p = reversed_labels.to_probabilities(z[:, None])
    np.testing.assert_allclose(p, 0.5, atol=1e-6)
    separable = LabelCalibration.fit(z[:, None], (z > 0)[:, None]).to_probabilities(z[:, None])
    assert 0.9 < separable.max() < 0.999
    assert (np.diff(separable[:, 0]) > 0).all()


def test_probabilities_are_frequencies():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(4_000, 1))
    targets = rng.random((4_000, 1)) < sigmoid(2 * z - 1)
    calibration = LabelCalibration.fit(10 * z, targets)
    assert calibration.slope[0] == pytest.approx(0.2, rel=0.1)
    assert calibration.intercept[0] == pytest.approx(-1, abs=0.15)


def test_no_row_influences_its_own_calibration_or_threshold():
    targets, margins = draw(60)
    fold = np.arange(60) % 3
    p = cross_calibrate_labels(margins, targets, fold)
    predicted = cross_predict(targets, p, fold)
    flipped = np.where((fold == 0)[:, None], ~targets, targets)
    assert (cross_calibrate_labels(margins, flipped, fold)[fold == 0] == p[fold == 0]).all()
    assert (cross_predict(flipped, p, fold)[fold == 0] == predicted[fold == 0]).all()


def test_the_threshold_has_the_greatest_f1_of_all_cuts():
    targets, p = draw(80, seed=3)
    thresholds = fit_thresholds(targets, p)
    predicted = LabelThresholds(thresholds).predict(p)
    for c in range(4):
        best = max(f1_score(targets[:, c], p[:, c] >= cut) for cut in np.unique(p[:, c]))
        assert f1_score(targets[:, c], predicted[:, c]) == pytest.approx(best)


def test_scores_equal_scikit_learns_and_labels_without_images_do_not_count():
    targets, logits = draw(100)
    p = sigmoid(logits)
    targets[:, 0] = False
    predicted = p > 0.6
    names = ("a", "b", "c", "d")
    scores = score_labels(names, targets, p, predicted, draw_counts(100, 200))
    assert scores.micro_f1 == pytest.approx(f1_score(targets, predicted, average="micro"))
    assert scores.macro_f1 == pytest.approx(
        f1_score(targets[:, 1:], predicted[:, 1:], average="macro")
    )
    assert scores.exact_match.value == pytest.approx((targets == predicted).all(1).mean())
    assert np.isnan(scores.labels[0].average_precision)
    assert scores.mean_average_precision.value == pytest.approx(
        np.mean([label.average_precision for label in scores.labels[1:]])
    )
    with pytest.raises(ValueError, match="no labelled row"):
        score_labels(names, targets[:0], p[:0], predicted[:0], draw_counts(0, 1))
