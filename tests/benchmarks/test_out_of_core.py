"""The benchmark of fits out of core runs small; its simulated rows are those of their seed."""

from __future__ import annotations

import json

import numpy as np

from benchmarks.out_of_core import run as out_of_core
from benchmarks.out_of_core.simulated import Simulation


def test_small_run_gives_json():
    result = json.loads(json.dumps(out_of_core.run(small=True), allow_nan=False))
    pass_ = result["costs"]["1200"]["one_pass"]
    assert pass_["seconds"]["pass"] > 0
    assert result["costs"]["1200"]["fit"]["samples"]["n_train"] > 1000
    accuracy = result["agreement"]["accuracy"]
    for method in ("GDA()", "NaiveBayes()", "NearestClassMean()"):
        assert accuracy[method]["difference"]["mean"] == 0
        assert result["agreement"]["greatest_difference_of_probabilities"][method] < 1e-4
    for gap in result["agreement"]["regression_gap_in_nats"]:
        assert -1e-4 < gap["actual"] <= gap["certain"] + 1e-6


def test_blocks_do_not_depend_on_each_other():
    simulation = Simulation(d=5, k=3, seed=4)
    y = simulation.draw_labels(12_000)
    blocks = list(simulation.iterate(y))
    np.testing.assert_array_equal(blocks[1], simulation.draw_block(y[5000:10_000], 1))
    assert blocks[0].dtype == np.float16
    means = np.stack([np.concatenate(blocks)[y == c].mean(0, dtype=float) for c in range(3)])
    np.testing.assert_allclose(means, simulation.means, atol=0.15)
