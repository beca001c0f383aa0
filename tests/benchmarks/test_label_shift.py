"""The benchmark of label shift runs small; its streams match their names."""

import json

import numpy as np
import pytest

from benchmarks.label_shift import run as label_shift
from benchmarks.label_shift import sources
from benchmarks.saved_classifier import FeatureSet
from ilk.methods.gda import GDA


@pytest.fixture(scope="module")
def results():
    return json.loads(json.dumps(label_shift.run(small=True)))


def test_small_gives_accuracy_and_prior_error(results):
    assert len(results["tables"]) == 5
    *accuracies, off = results["tables"]
    for table in accuracies:
        scores = {s["method"]: s["score"]["mean"] for s in table["scores"]}
        assert scores[label_shift.GUARDED] >= scores[label_shift.UNADAPTED] - 0.01
    errors = {s["method"]: s["score"]["mean"] for s in off["scores"]}
    assert errors[label_shift.UNGUARDED] < errors[label_shift.UNADAPTED] / 3


def test_no_stream_loses_more_than_a_point(results):
    guard = results["guard"]["digits, GDA"]
    assert guard["worst change of accuracy"][label_shift.GUARDED] >= -0.01
    assert guard["decisions"]["one class"]["refused"] >= label_shift.DRAWS_PER_KIND
    assert guard["streams"] == 2 * label_shift.DRAWS_PER_KIND * len(label_shift.STREAMS)


def test_streams_have_the_priors_of_their_kind():
    world = sources.load_digits(0)
    rng = np.random.default_rng(0)
    assert np.max(label_shift.draw_stream(world, "one class", rng).count_labels()) >= 60
    one = label_shift.draw_stream(world, "one class", rng)
    assert np.sum(one.count_labels() > 0) == 1
    even = label_shift.draw_stream(world, "training priors", rng)
    shares = world.train.count_labels() / len(world.train)
    assert np.abs(even.count_labels() / len(even) - shares).max() < 0.03
    steep = label_shift.draw_stream(world, "Dirichlet 0.3", rng)
    assert np.abs(steep.count_labels() / len(steep) - shares).sum() / 2 > 0.2
    rows = {tuple(row) for row in world.train.x}
    assert np.mean([tuple(row) in rows for row in even.x]) < 0.01


def test_true_priors_are_an_upper_bound_for_the_same_classifier():
    world = sources.load_digits(1)
    classifier = FeatureSet.from_data(world.train).fit(GDA())
    rng = np.random.default_rng(1)
    outcome = label_shift.evaluate_stream(
        classifier, label_shift.draw_stream(world, "Dirichlet 0.3", rng), "x"
    )
    assert outcome.accuracy[label_shift.TRUE_PRIORS] >= outcome.accuracy[label_shift.UNADAPTED]
    assert 0 <= outcome.coverage <= 1
