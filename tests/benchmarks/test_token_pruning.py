"""The benchmark of token pruning runs small; networks of a seed start alike."""

import json

import pytest
import torch

from benchmarks.runner import shared_path
from benchmarks.token_pruning import run as pruning
from ilk.core.errors import Unavailable


def test_small_run_gives_json():
    try:
        shared_path("data", "mnist")
    except Unavailable as error:
        pytest.skip(str(error))
    result = json.loads(json.dumps(pruning.run(small=True), allow_nan=False))
    assert [t["metric"] for t in result["tables"]][:3] == [
        pruning.MAP,
        pruning.ACCURACY,
        pruning.ORACLE,
    ]
    assert {s["method"] for s in result["tables"][0]["scores"]} == set(pruning.ARMS)


def test_pruned_networks_start_as_the_whole_one():
    whole, pruned = (pruning.make_network(name, 3) for name in (pruning.WHOLE, pruning.RESPONSE))
    for a, b in zip(whole.parameters(), pruned.parameters(), strict=True):
        assert torch.equal(a, b)
    x = torch.rand(2, 1, 28, 28)
    assert pruned.compute(x).tokens.shape == (2, 6)
