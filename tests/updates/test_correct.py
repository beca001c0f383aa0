"""Corrections of any classifier: known classes, new ones, and both at once."""

import numpy as np
import pytest

from benchmarks.saved_classifier import FeatureSet
from ilk.core.data import Data
from ilk.core.linear_models import Linear
from ilk.core.metrics import softmax
from ilk.core.statistics import Statistics
from ilk.maths.gaussian import compute_statistics, fit_linear_discriminant, merge_statistics
from ilk.maths.leave_one_out import compute_gaussian_logits
from ilk.methods import parse
from ilk.trust.calibration import Calibration
from ilk.updates.adjusted_models import AdjustedModel, adjust_model
from ilk.updates.correct import correct_classifier
from ilk.updates.extended_models import HeldOutRows, StatisticsUpdate

NAMES = ("ant", "bee", "cat")


def world(n, seed, shift=0.0, k=3, d=6):
    rng = np.random.default_rng(seed)
    means = 1.2 * np.random.default_rng(9).standard_normal((k, d))
    y = rng.integers(0, k, n)
    return Data((means[y] + shift + rng.standard_normal((n, d))).astype(np.float32), y, NAMES[:k])


def update_of(old, added):
    before = compute_statistics(old.x, old.y, old.k)
    gain = compute_statistics(added.x, added.y, added.k)
    return StatisticsUpdate(before, merge_statistics(before, gain), added, old.k)


def left_out(stats, x, y):
    """The Gaussians' logits of each row from statistics that are computed without it."""
    out = []
    for row, c in zip(np.float64(x), y, strict=True):
        n = stats.counts[c]
        one = compute_statistics(row[None].astype(np.float32), np.array([c]), len(stats.counts))
        counts = stats.counts - one.counts
        means = stats.means.copy()
        means[c] = (n * stats.means[c] - row) / (n - 1)
        scatter = stats.scatter - n / (n - 1) * np.outer(row - stats.means[c], row - stats.means[c])
        out.append(fit_linear_discriminant(Statistics(counts, means, scatter)).logits(row[None])[0])
    return np.array(out)


def make_rows(old, added, model):
    x, y = np.vstack([old.x, added.x]), np.append(old.y, added.y)
    return HeldOutRows(x, y, model.logits(x), np.zeros(len(y)))


def test_the_gaussian_model_itself_becomes_that_of_all_rows():
    old, added = world(80, 0), world(7, 1, shift=0.5)
    update = update_of(old, added)
    model = fit_linear_discriminant(update.before)
    rows = make_rows(old, added, model)
    after = compute_gaussian_logits(update.after, rows.x, rows.y)
    temperature = Calibration.fit(after, rows.y).temperature
    adjusted, _ = adjust_model(model, update, rows, len(old.y), temperature)
    x = world(50, 2).x
    expected = softmax(fit_linear_discriminant(update.after).logits(x), 1)
    np.testing.assert_allclose(softmax(adjusted.logits(x), 1), expected, atol=2e-4)


def test_the_change_is_in_the_calibrated_units_of_the_model():
    """A model whose temperature is three times as high has logits that move three times as far."""
    old, added = world(80, 0), world(7, 1, shift=0.5)
    update = update_of(old, added)
    model = fit_linear_discriminant(update.before)
    rows = make_rows(old, added, model)
    (one, logits), (three, far) = (
        adjust_model(model, update, rows, len(old.y), t) for t in (1.0, 3.0)
    )
    assert np.abs(one.weight).max() > 0.01
    np.testing.assert_allclose(three.weight, 3 * one.weight, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(three.bias, 3 * one.bias, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(far - rows.logits, 3 * (logits - rows.logits), atol=1e-6)


def test_left_out_logits_are_those_of_statistics_without_the_row():
    old, added = world(400, 3), world(5, 4, shift=0.5)
    update = update_of(old, added)
    model = Linear(np.zeros((3, 6), np.float32), np.zeros(3, np.float32))
    rows = make_rows(old, added, model)
    after = compute_gaussian_logits(update.after, rows.x, rows.y)
    temperature = Calibration.fit(after, rows.y).temperature
    _, logits = adjust_model(model, update, rows, len(old.y), temperature)
    after = left_out(update.after, rows.x, rows.y)
    before = np.vstack(
        [
            left_out(update.before, old.x, old.y),
            fit_linear_discriminant(update.before).logits(added.x),
        ]
    )
    np.testing.assert_allclose(softmax(logits, 1), softmax(after - before, 1), atol=0.02)


@pytest.mark.parametrize(
    "method", ["LogisticRegression(C=1.0)", "Ridge()", "GDA()", "NaiveBayes()"]
)
def test_rows_of_another_look_are_learnt_and_the_others_kept(method):
    old = world(150, 5)
    classifier = FeatureSet.from_data(old).fit(parse(method))
    added, unseen = world(60, 6, shift=2.5), world(200, 7, shift=2.5)
    names = [NAMES[c] for c in added.y]
    corrected, report = correct_classifier(classifier, added.x, names)
    before = (classifier.model.logits(unseen.x).argmax(1) == unseen.y).mean()
    after = (corrected.model.logits(unseen.x).argmax(1) == unseen.y).mean()
    assert after >= before + 0.02
    same = world(300, 8)
    was = (classifier.model.logits(same.x).argmax(1) == same.y).mean()
    now = (corrected.model.logits(same.x).argmax(1) == same.y).mean()
    assert now >= was - 0.08
    assert report.n_images == {name: names.count(name) for name in NAMES if name in names}
    assert corrected.classes == classifier.classes


def test_known_and_new_classes_at_once_and_once_more():
    old = world(150, 5)
    classifier = FeatureSet.from_data(old).fit(parse("LogisticRegression(C=1.0)"))
    rng = np.random.default_rng(1)
    new = rng.standard_normal((9, 6)).astype(np.float32) - 6
    x = np.vstack([new, world(4, 3).x])
    corrected, report = correct_classifier(classifier, x, ["dog"] * 9 + ["ant"] * 4)
    assert corrected.classes == (*NAMES, "dog")
    n_ants = {"ant": 4}
    assert report.n_images == {"dog": 9, **n_ants}
    assert (corrected.model.logits(new - 0.1).argmax(1) == 3).all()
    again, _ = correct_classifier(corrected, x[:2] + 0.3, ["cat", "dog"])
    assert isinstance(again.model, AdjustedModel | type(corrected.model))
    assert again.classes == corrected.classes
    assert np.isfinite(again.to_probabilities(again.model.logits(x))).all()


def test_no_change_of_the_statistics_changes_nothing():
    old = world(60, 3)
    update = update_of(old, world(1, 4))
    same = StatisticsUpdate(update.before, update.before, update.added, 3)
    model = fit_linear_discriminant(update.before)
    rows = make_rows(old, world(1, 4), model)
    adjusted, _ = adjust_model(model, same, rows, len(old.y), 2.0)
    np.testing.assert_allclose(adjusted.weight, 0, atol=1e-6)
    np.testing.assert_allclose(adjusted.bias, 0, atol=1e-6)
