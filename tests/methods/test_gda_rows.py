"""Gaussian discriminants of directions: choice of the form of rows, extension, left-out rows."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from ilk.core.data import Data
from ilk.core.linear_models import Linear, normalize_rows
from ilk.core.metrics import softmax
from ilk.core.unit_gaussian import UnitGaussian
from ilk.maths import unit_discriminant
from ilk.maths.covariance import compute_covariance_terms
from ilk.maths.gaussian import compute_statistics, subtract_statistics
from ilk.maths.leave_one_out import compute_gaussian_logits
from ilk.maths.unit_discriminant import choose_rows
from ilk.methods.gda import GDA

CLASSES = tuple("abcde")


def draw(per_class=6, d=24, seed=0, lengths=1.0, k=5):
    """Return rows whose directions tell the classes apart, times random lengths."""
    rng = np.random.default_rng(seed)
    means = 1.0 * np.random.default_rng(7).standard_normal((k, d))
    y = rng.permutation(np.repeat(np.arange(k), per_class))
    x = means[y] + rng.standard_normal((len(y), d))
    x *= np.exp(lengths * rng.standard_normal(len(y)))[:, None]
    return Data(x.astype(np.float32), y, CLASSES[:k])


def statistics_of(data):
    return compute_statistics(data.x, data.y, data.k)


@dataclass(frozen=True)
class UnitGDA(GDA):
    rows: str | None = "unit"


@pytest.mark.parametrize("shrink", [None, "oas", 0.3])
@pytest.mark.parametrize("d", [8, 60])
def test_unit_rows_are_the_discriminant_of_normalized_features(shrink, d):
    data, new = draw(d=d), draw(d=d, seed=1).x
    unit = replace(data, x=normalize_rows(data.x).astype(np.float32))
    want = GDA(shrink=shrink, rows="raw").fit(unit).logits(normalize_rows(new))
    model = GDA(shrink=shrink, rows="unit").fit(data)
    np.testing.assert_allclose(softmax(model.logits(new), 1), softmax(want, 1), atol=1e-5)
    centre = unit.x.mean(0)
    moved = replace(data, x=normalize_rows(unit.x - centre).astype(np.float32))
    moved_new = normalize_rows(normalize_rows(new) - centre)
    want = GDA(shrink=shrink, rows="raw").fit(moved).logits(moved_new)
    model = GDA(shrink=shrink, rows="centred").fit(data)
    np.testing.assert_allclose(softmax(model.logits(new), 1), softmax(want, 1), atol=1e-5)


def test_the_model_has_the_statistics_of_the_directions():
    for d in (8, 60):
        data = draw(d=d)
        u = normalize_rows(data.x)
        found, want = GDA(rows="unit").fit(data).statistics, compute_statistics(u, data.y, 5)
        np.testing.assert_allclose(found.means, want.means, atol=1e-6)
        np.testing.assert_allclose(found.scatter, want.scatter, atol=1e-5)


def test_lengths_that_tell_nothing_are_dropped_and_those_that_tell_all_are_kept():
    assert choose_rows(draw(lengths=1.5)) == "centred"
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(3), 8)
    ray = np.ones(20) + 0.1 * rng.standard_normal((24, 20))
    by_length = Data((ray * np.array([1.0, 3.0, 9.0])[y, None]).astype(np.float32), y, tuple("abc"))
    assert choose_rows(by_length) == "raw"
    assert isinstance(GDA().fit(by_length), Linear)
    assert isinstance(GDA().fit(draw(lengths=1.5)), UnitGaussian)


def test_the_choice_generalizes():
    """Chosen inside few training rows, the form is at least as accurate on others."""
    gains = []
    for seed in range(8):
        train, test = draw(4, seed=seed, lengths=1.0), draw(40, seed=100 + seed, lengths=1.0)
        accuracy = [
            np.mean(GDA(rows=rows).fit(train).logits(test.x).argmax(1) == test.y)
            for rows in (None, "raw")
        ]
        gains.append(accuracy[0] - accuracy[1])
    assert np.mean(gains) > 0.02


def test_the_rules_without_a_choice():
    assert choose_rows(draw(1)) == "centred"  # nothing can be left out
    assert choose_rows(draw(20)) == "raw"
    assert choose_rows(draw(6, d=8)) == "raw"
    one = draw(6)
    assert choose_rows(one.take(one.y == 0)) == "raw"
    with pytest.raises(ValueError, match="rows is 'whole'; allowed are 'raw', 'unit', 'centred'"):
        GDA(rows="whole")


def test_one_row_per_class_is_the_nearest_centred_direction():
    data, new = draw(1), draw(1, seed=1).x
    unit = normalize_rows(data.x)
    centre = unit.mean(0)
    u, v = normalize_rows(unit - centre), normalize_rows(normalize_rows(new) - centre)
    logits = GDA().fit(data).logits(new)
    np.testing.assert_array_equal(logits.argmax(1), data.y[(v @ u.T).argmax(1)])


def test_weights_are_copies():
    data = draw(5, lengths=0.5)
    weight = 1.0 + (np.arange(len(data)) % 3 == 0)
    weighted = replace(data, weight=weight)
    copies = data.take(np.repeat(np.arange(len(data)), weight.astype(int)))
    x, y, scored = data.x, data.y, np.arange(len(data))
    for form in (x, normalize_rows(x).astype(np.float32)):
        of_weighted = unit_discriminant.measure_left_out_loss(
            weighted, form, scored, None, None, False
        )
        of_copies = unit_discriminant.measure_left_out_loss(
            copies,
            np.repeat(form, weight.astype(int), axis=0),
            np.arange(len(copies)),
            None,
            None,
            False,
        )
        assert of_weighted == pytest.approx(of_copies, rel=1e-4)
    for rows in ("unit", "centred"):
        one, two = GDA(rows=rows).fit(weighted), GDA(rows=rows).fit(copies)
        np.testing.assert_allclose(one.logits(x), two.logits(x), atol=1e-3)
    assert y.max() == 4


@pytest.mark.parametrize("row_weight", [0.4, 1.0, 3.0])
def test_one_copy_of_a_weighted_row_is_left_out(row_weight):
    """Against Gaussians of the statistics without it, at the covariance terms of all rows."""
    data = draw(5, d=6)
    weight = np.where(np.arange(len(data)) == 3, row_weight, 1.0)
    x, y = data.x[3:4], data.y[3:4]
    stats = compute_statistics(data.x, data.y, 5, weight=weight)
    got = compute_gaussian_logits(stats, x, y, None, weight=weight[3:4])
    one = np.array([min(row_weight, 1.0)])
    rest = subtract_statistics(stats, compute_statistics(x, y, 5, weight=one))
    a, b = compute_covariance_terms(stats)
    p = np.linalg.inv(a * rest.scatter + b * np.eye(6))
    far = x - rest.means
    want = np.log(rest.counts) - 0.5 * np.einsum("kd,de,ke->k", far, p, far)
    np.testing.assert_allclose(softmax(got, 1)[0], softmax(want[None], 1)[0], atol=1e-6)


def test_the_left_out_loss_is_that_of_refits(monkeypatch):
    """Against fits without the row, at the same covariance terms and the best temperature."""
    monkeypatch.setattr(unit_discriminant, "fit_inverse_temperature", lambda *_, **__: 1.0)
    data = draw(6, d=30)
    found = unit_discriminant.measure_left_out_loss(
        data, data.x, np.arange(len(data)), None, None, True
    )
    losses = []
    for i in range(len(data)):
        rest = data.take(np.arange(len(data)) != i)
        p = softmax(GDA(rows="raw", uniform=True).fit(rest).logits(data.x[i : i + 1]), 1)
        losses.append(-np.log(p[0, data.y[i]]))
    assert found == pytest.approx(np.mean(losses), rel=0.06)


def test_groups_are_left_out_as_a_whole():
    """Near-copies of a row say nothing about the length of others."""
    single = draw(4, seed=3, lengths=1.0)
    copies = single.take(np.repeat(np.arange(len(single)), 4))
    noise = 1e-3 * np.random.default_rng(0).standard_normal(copies.x.shape).astype(np.float32)
    grouped = replace(copies, x=copies.x + noise, group=np.repeat(np.arange(len(single)), 4))
    alone = replace(grouped, group=np.full(len(grouped), -1))
    losses = [
        unit_discriminant.measure_left_out_loss(
            data, data.x, np.arange(len(data)), group, None, False
        )
        for data, group in ((grouped, grouped.group), (alone, None))
    ]
    assert losses[0] > 2 * losses[1]
    assert choose_rows(grouped) in ("raw", "centred")


@pytest.mark.parametrize("d", [8, 60])
@pytest.mark.parametrize("kind", [UnitGDA()])
def test_extension_gives_the_model_of_all_rows(d, kind):
    data, new = draw(7, d=d), draw(seed=1, d=d).x
    is_old = (data.y < 3) & (np.arange(len(data)) % 3 > 0)
    old = Data(data.x[is_old], data.y[is_old], CLASSES[:3])
    model = kind.fit(old)
    extended = kind.extend(model, data.take(~is_old), statistics_of(data))
    whole = kind.fit(data)
    np.testing.assert_allclose(
        softmax(extended.logits(new), 1), softmax(whole.logits(new), 1), atol=2e-5
    )
    np.testing.assert_allclose(extended.statistics.scatter, whole.statistics.scatter, atol=1e-4)
    assert len(extended.residuals) <= d
    assert model.counts.sum() == is_old.sum()


def test_extension_keeps_the_centre_of_the_first_rows():
    data = draw(4)
    old = Data(data.x[data.y < 3], data.y[data.y < 3], CLASSES[:3])
    model = GDA(rows="centred").fit(old)
    extended = GDA().extend(model, data.take(data.y >= 3), statistics_of(data))
    np.testing.assert_array_equal(extended.centre, model.centre)
    assert np.mean(extended.logits(data.x).argmax(1) == data.y) > 0.9


def test_left_out_rows_are_those_of_refits():
    data = draw(6)
    for method in (UnitGDA(), UnitGDA(shrink=0.4, uniform=True)):
        got = softmax(
            method.leave_one_out_logits(method.fit(data), data.x, data.y, statistics_of(data)), 1
        )
        in_sample = softmax(method.fit(data).logits(data.x), 1)
        refits = np.stack(
            [
                softmax(
                    method.fit(data.take(np.arange(len(data)) != i)).logits(data.x[i : i + 1]), 1
                )[0]
                for i in range(len(data))
            ]
        )
        own = (np.arange(len(data)), data.y)
        assert np.abs(got - refits)[own].mean() < 0.2 * np.abs(in_sample - refits)[own].mean()
    group = np.arange(len(data)) // 2
    by_group = UnitGDA().leave_one_out_logits(
        UnitGDA().fit(data), data.x, data.y, statistics_of(data), group
    )
    assert by_group.shape == (len(data), 5)
