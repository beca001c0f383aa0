"""The benchmark of self-explaining nodes runs small; only one arm sees the labels of test nodes."""

import json

import numpy as np
import pytest

from benchmarks.datasets import read_digits
from benchmarks.explaining_nodes import run as nodes
from ilk.maths.neighbour_graph import build_graph


def test_small_run_gives_json():
    result = json.loads(json.dumps(nodes.run(small=True), allow_nan=False))
    assert result["left out"] == []
    assert len(result["tables"]) == 4
    accuracy = {s["method"]: s["score"]["mean"] for s in result["tables"][0]["scores"]}
    assert accuracy[nodes.CONTEXT_ALONE] < accuracy[nodes.REASONER]
    assert "nearest labelled neighbours are" in result["texts"]["digits"][0]


def test_only_the_leaky_arm_depends_on_the_labels_of_test_nodes():
    data, truth = nodes.draw_nodes(read_digits(), 0, True)
    other = np.where(data.y >= 0, truth, (truth + 1 + np.arange(len(truth)) % 7) % 10)
    for name, is_same in ((nodes.REASONER, True), (nodes.SHUFFLED, True), (nodes.LEAKY, False)):
        first, second = (nodes.NodeArm.fit(name, data, t, 0, 10) for t in (truth, other))
        assert np.array_equal(first.context, second.context) == is_same, name
    assert (data.y >= 0).sum() == 60


def test_r2_by_hand():
    h = np.array([[0.0, 1.0], [2.0, 3.0]])
    assert nodes.compute_r2(h, h) == 1.0
    assert nodes.compute_r2(h, np.broadcast_to(h.mean(0), h.shape)) == 0.0
    assert nodes.compute_r2(h, h + 1) == pytest.approx(0.0)
    rng = np.random.default_rng(0)
    context = rng.standard_normal((50, 3))
    assert nodes.fit_linear_ceiling(context, context @ rng.standard_normal((3, 4)) + 2) > 1 - 1e-9


def test_taking_away_no_neighbour_changes_nothing():
    data, _ = nodes.draw_nodes(read_digits(), 0, True)
    model = nodes.XNode(epochs=5).fit(data)
    place = model.find_neighbours(data.x)
    np.testing.assert_array_equal(model.score_at(data.x, place), model.logits(data.x))
    assert build_graph(data.x, 8).k == 8
    falls = nodes.measure_cue(model, data.x, 0)
    assert set(falls) == {nodes.NAMED, nodes.RANDOM}
