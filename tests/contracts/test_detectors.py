"""The contract of a detector, checked for every file of `ilk.detectors`; planted faults fail it."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from helpers.contract_checks import (
    check_citation,
    check_input_unchanged,
    check_is_value,
    check_parses_back,
    check_rows_independent,
    check_savable,
    check_seeded,
)
from ilk.core.contracts import DetectorTags
from ilk.core.data import Data
from ilk.core.errors import InputError, NoLabels
from ilk.detectors import list_detectors
from ilk.detectors.gaussian_anomaly import GaussianAnomaly

DETECTORS = list_detectors()
every = pytest.mark.parametrize("kind", DETECTORS.values(), ids=DETECTORS)


def draw(n, seed=0, d=5, shift=0.0):
    """Correlated normal rows, or anomalies at `shift` standard deviations in all directions.

    Like features of networks they are not centred: a distance may be that of directions.
    """
    rng = np.random.default_rng(seed)
    mix = np.linalg.qr(np.random.default_rng(99).standard_normal((d, d)))[0]
    rows = (rng.standard_normal((n, d)) + shift) * np.linspace(0.5, 2, d) @ mix
    return (rows + 30 * mix[-1]).astype(np.float32)


def unlabelled(x):
    return Data(x, np.full(len(x), -1), ("normal", "broken"))


def check_value(kind):
    check_is_value(kind, DetectorTags)


def check_scores(kind):
    """Finite float64 scores `[n]`, higher for anomalies."""
    model = kind().fit(unlabelled(draw(200)))
    normal, anomalous = model.score(draw(100, 1)), model.score(draw(100, 2, shift=4))
    assert normal.shape == (100,)
    assert normal.dtype == np.float64
    assert np.isfinite(normal).all()
    assert np.mean(anomalous[:, None] > normal) > 0.99


def check_independence(kind):
    check_rows_independent(kind().fit(unlabelled(draw(60))).score, draw(30, 1))


def check_seed(kind):
    check_seeded(kind(), unlabelled(draw(60)))


def check_input(kind):
    check_input_unchanged(lambda data: kind().fit(data).score(data.x), unlabelled(draw(60)))


def check_normal_rows(kind):
    """Class 0 is normal; unlabelled rows are ignored next to labelled ones, else all are normal."""
    x = np.concatenate([draw(60), draw(40, 1, shift=6)])
    probe = np.concatenate([draw(20, 2), draw(20, 3, shift=6)])
    y = np.repeat([0, 1, -1], [60, 20, 20])
    alone = kind().fit(unlabelled(x[:60])).score(probe)
    labelled = kind().fit(Data(x, y, ("normal", "broken"))).score(probe)
    np.testing.assert_allclose(labelled, alone, rtol=1e-6)
    assert not np.allclose(kind().fit(unlabelled(x)).score(probe), alone, rtol=1e-3)


def check_thresholds(kind):
    """A threshold keeps its rate on new normal rows, and falls as the rate rises."""
    rates = (0.02, 0.1, 0.3)
    alarms = np.zeros((20, 3))
    for seed in range(20):
        model = kind().fit(unlabelled(draw(150, seed)))
        thresholds = [model.compute_threshold(rate) for rate in rates]
        assert thresholds == sorted(thresholds, reverse=True)
        alarms[seed] = [(model.score(draw(400, 500 + seed)) > t).mean() for t in thresholds]
    for rate, observed in zip(rates, alarms.mean(0), strict=True):
        assert 0.5 * rate < observed < 1.3 * rate  # a fold has fewer rows to learn from


def check_weight_zero(kind):
    """A labelled row of weight 0 is absent."""
    x, probe = draw(60), draw(20, 2)
    weight = np.where(np.arange(60) % 3 == 0, 0.0, 1.0)
    data = Data(x, np.zeros(60, int), ("normal", "broken"), weight=weight)
    scores = kind().fit(data).score(probe)
    np.testing.assert_array_equal(scores, kind().fit(data.take(weight > 0)).score(probe))


def check_few_rows(kind):
    """Where too few rows are left out for the rate, nothing is flagged."""
    model = kind().fit(unlabelled(draw(10)))
    assert (model.score(draw(20, 1, shift=1e3)) <= model.compute_threshold(0.01)).all()


def check_refusals(kind):
    """What cannot be fitted is refused with a message that names the detector."""
    x = draw(6)
    with pytest.raises(InputError, match=kind.__name__):
        kind().fit(unlabelled(x[:0]))
    with pytest.raises(InputError, match="encode the images first"):
        kind().fit(unlabelled(x[:, None]))
    with pytest.raises(NoLabels, match="'normal'"):
        kind().fit(Data(x, np.ones(6, int), ("normal", "broken")))
    uneven = replace(unlabelled(x), weight=np.arange(6.0))
    if not kind.supports_weights:
        with pytest.raises(InputError, match="does not support row weights"):
            kind().fit(uneven)
    for rate in (0, 1, -0.1):
        with pytest.raises(InputError, match="false-alarm rate"):
            kind().fit(unlabelled(x)).compute_threshold(rate)


def check_degenerate_rows(kind):
    """One row, equal rows, constant features and more features than rows give finite scores."""
    constant = np.column_stack([draw(40), np.full(40, 3, np.float32)])
    for x in (draw(1), np.ones((7, 3), np.float32), constant, draw(9, d=60)):
        assert np.isfinite(kind().fit(unlabelled(x)).score(x + 1)).all()


def check_saved(kind):
    check_savable(kind().fit(unlabelled(draw(30))))


CHECKS = (
    check_citation,
    check_value,
    check_parses_back,
    check_scores,
    check_independence,
    check_seed,
    check_input,
    check_normal_rows,
    check_thresholds,
    check_weight_zero,
    check_few_rows,
    check_refusals,
    check_degenerate_rows,
    check_saved,
)


@every
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(kind, check):
    check(kind)


def test_the_folder_is_not_empty_and_holds_no_classifier():
    assert "GaussianAnomaly" in DETECTORS
    assert not any(hasattr(kind, "default_candidate") for kind in DETECTORS.values())


@dataclass(frozen=True, eq=False)
class FaultyModel:
    """A fitted detector with one fault."""

    inner: object
    fault: str

    def score(self, x):
        score = self.inner.score(x)
        if self.fault == "sign":
            return -score
        if self.fault == "nan":
            return np.where(score > np.median(score), score, np.nan) if len(score) else score
        if self.fault == "batch":
            return score - score.mean() if len(score) else score
        return score

    def compute_threshold(self, rate):
        return self.inner.compute_threshold(0.1 if self.fault == "threshold" else rate)


def plant(fault):
    """Return a detector class with a fault."""

    @dataclass(frozen=True)
    class Faulty(GaussianAnomaly):
        def fit(self, data):
            if fault == "global seed":
                return replace(self, seed=int(np.random.randint(1000)))._fit(data)
            if fault == "labels ignored":
                return self._fit(replace(data, y=np.full(len(data), -1)))
            if fault == "in-sample threshold":
                model = self._fit(data)
                return replace(model, calibration_scores=np.sort(model.score(data.x)) * 0.8)
            return FaultyModel(self._fit(data), fault)

        def _fit(self, data):
            return GaussianAnomaly.fit(self, data)

    return Faulty


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        ("sign", check_scores),
        ("nan", check_scores),
        ("batch", check_independence),
        ("global seed", check_seed),
        ("labels ignored", check_normal_rows),
        ("in-sample threshold", check_thresholds),
        ("threshold", check_thresholds),
        ("threshold", check_few_rows),
        ("threshold", check_refusals),
        ("unsavable", check_saved),
    ],
)
def test_planted_faults_fail(fault, check):
    with pytest.raises((AssertionError, TypeError, pytest.fail.Exception)):
        check(plant(fault))


def test_a_write_to_the_input_fails():
    data = unlabelled(draw(20))

    def write(rows):
        np.asarray(rows.x.base if rows.x.base is not None else rows.x)[0] = 7

    with pytest.raises((AssertionError, ValueError)):
        check_input_unchanged(write, data)
