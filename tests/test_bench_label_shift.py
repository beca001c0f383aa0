"""The benchmark of label shift runs small; its streams are what they are called."""

import json

import numpy as np
import pytest

from ilk.bench import label_shift
from ilk.bench._saved import Material
from ilk.methods.gda import GDA


@pytest.fixture(scope="module")
def told():
    return json.loads(json.dumps(label_shift.run(small=True)))


def test_small_gives_accuracy_and_error_of_shares(told):
    assert len(told["tables"]) == 5
    *accuracies, off = told["tables"]
    for table in accuracies:
        scores = {s["method"]: s["score"]["mean"] for s in table["scores"]}
        assert scores[label_shift.OURS] >= scores[label_shift.PLAIN] - 0.01
    errors = {s["method"]: s["score"]["mean"] for s in off["scores"]}
    assert errors[label_shift.ALWAYS] < errors[label_shift.PLAIN] / 3


def test_no_stream_ends_more_than_a_point_below(told):
    guard = told["guard"]["digits, GDA"]
    assert guard["worst change of accuracy"][label_shift.OURS] >= -0.01
    assert guard["verdicts"]["one class"]["refused"] >= label_shift.DRAWS
    assert guard["streams"] == 2 * label_shift.DRAWS * len(label_shift.STREAMS)


def test_streams_have_the_shares_they_are_called_by():
    world = label_shift.digits(0)
    rng = np.random.default_rng(0)
    assert np.max(label_shift.stream(world, "one class", rng).counts()) >= 60
    one = label_shift.stream(world, "one class", rng)
    assert np.sum(one.counts() > 0) == 1
    even = label_shift.stream(world, "as learnt", rng)
    shares = world.train.counts() / len(world.train)
    assert np.abs(even.counts() / len(even) - shares).max() < 0.03
    steep = label_shift.stream(world, "Dirichlet 0.3", rng)
    assert np.abs(steep.counts() / len(steep) - shares).sum() / 2 > 0.2
    rows = {tuple(row) for row in world.train.x}
    assert np.mean([tuple(row) in rows for row in even.x]) < 0.01


def test_true_shares_are_an_upper_mark_for_the_same_classifier():
    world = label_shift.digits(1)
    classifier = Material.of(world.train).learnt(GDA())
    rng = np.random.default_rng(1)
    found = label_shift.outcome(classifier, label_shift.stream(world, "Dirichlet 0.3", rng), "x")
    assert found.accuracy[label_shift.TRUE] >= found.accuracy[label_shift.PLAIN]
    assert 0 <= found.inside <= 1
