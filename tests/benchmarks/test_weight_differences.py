"""The benchmark of weight differences runs small; its controls are what they are called."""

import json

import pytest
import torch

from benchmarks.runner import shared_path
from benchmarks.weight_differences import run as differences
from ilk.core.errors import Unavailable


def test_small_run_gives_json():
    try:
        shared_path("data", "fashion_mnist")
    except Unavailable as error:
        pytest.skip(str(error))
    result = json.loads(json.dumps(differences.run(small=True), allow_nan=False))
    metrics = [table["metric"] for table in result["tables"]]
    assert metrics == [
        differences.BEFORE,
        differences.STEPS,
        differences.AFTER,
        differences.BARRIER,
    ]
    assert {c["baseline"] for c in result["tables"][0]["claims"]} == {
        differences.NEW,
        *differences.RIVALS,
    }


def test_controls_keep_the_norm_of_the_difference():
    d = torch.arange(12.0).view(3, 4)
    rng = torch.Generator().manual_seed(0)
    assert differences.randomize(d, rng).norm() == pytest.approx(float(d.norm()), rel=1e-5)
    shuffled = differences.shuffle(d, rng)
    assert not torch.equal(shuffled, d)
    assert torch.equal(shuffled.flatten().sort().values, d.flatten())


def test_updates_are_counted_until_the_target():
    curve = ((0, 0.2), (10, 0.9), (20, 0.8))
    assert differences.count_steps(curve, 0.85) == 10
    assert differences.count_steps(curve, 0.95) == 30
