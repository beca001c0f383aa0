"""What is fitted anew belongs to the changed features, the class priors and the groups."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("onnx")

import ilk
from ilk.export.recalibrate import HonestRows, recalibrate
from ilk.trust.class_priors import ClassPriors

N = 3_000


@pytest.fixture(scope="module")
def model(home):
    return ilk.load(home / "kinds")


@pytest.fixture(scope="module")
def rows():
    """Rows of three classes whose logits are those of a calibrated model, and scores in order."""
    rng = np.random.default_rng(0)
    z = 2 * rng.standard_normal((N, 3))
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    y = (rng.random((N, 1)) > p.cumsum(1)).sum(1)
    alone = np.full(N, -1)
    return HonestRows(np.arange(N), y, alone, z, z, np.arange(N) / N, False)


def measure_coverage(fitted, rows, weight):
    p = fitted.to_probabilities(rows.changed_logits)
    sets = fitted.conformal.contains(p, rows.changed_score)
    return np.average(sets[np.arange(N), rows.y], weights=weight)


def test_the_temperature_is_that_of_the_changed_logits(model, rows):
    plain = recalibrate(model, rows).calibration.temperature
    assert plain == pytest.approx(1, abs=0.1)
    louder = replace(rows, changed_logits=3 * rows.logits)
    assert recalibrate(model, louder).calibration.temperature == pytest.approx(3 * plain, rel=0.05)


def test_sets_hold_under_the_class_priors(model, rows):
    for target in (None, np.array([0.8, 0.15, 0.05])):
        priors = None if target is None else ClassPriors(np.full(3, 1 / 3), target)
        fitted = recalibrate(replace(model, class_priors=priors), rows)
        weight = np.ones(3) if priors is None else priors.ratio
        coverage = measure_coverage(fitted, rows, weight[rows.y])
        assert coverage == pytest.approx(model.conformal.level, abs=0.004)


def test_a_group_of_rows_counts_once_for_the_threshold(model, rows):
    n_odd = int(0.2 * N)  # one object, photographed often, that looks like nothing else
    group = np.where(np.arange(N) >= N - n_odd, 7, -1)
    apart = recalibrate(model, rows).ood_detector.threshold
    together = recalibrate(model, replace(rows, group=group)).ood_detector.threshold
    alarm = model.ood_detector.false_alarm
    assert apart == pytest.approx(1 - alarm, abs=0.01)
    assert together == pytest.approx((1 - alarm) * (N - n_odd) / N, abs=0.01)


def test_images_that_the_network_was_trained_on_are_left_out():
    from types import SimpleNamespace

    from ilk.core.errors import InputError
    from ilk.export.recalibrate import find_honest_index

    n = 100
    images = SimpleNamespace(
        rows=[SimpleNamespace(digest=f"{i:064x}") for i in range(n)],
        y=np.where(np.arange(n) < 90, 0, -1),
        is_trained_on=np.zeros(n, bool),
    )

    def know(n_known):
        def is_held_out(digests, groups=None):
            return np.array([int(d, 16) >= n_known for d in digests])

        return SimpleNamespace(is_held_out=is_held_out)

    assert find_honest_index(images).tolist() == list(range(90))
    assert find_honest_index(images, know(40)).tolist() == list(range(40, 90))
    views = SimpleNamespace(base=know(40))  # views of a network, or a combination with one
    assert find_honest_index(images, views).tolist() == list(range(40, 90))
    with pytest.raises(InputError, match=r"needs 40 labelled .* not trained on, and there are 30"):
        find_honest_index(images, know(60))
