"""Magnitude pruning: one threshold over all layers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from ilk.compression.magnitude import find_masks, prune_weights
from ilk.core.errors import InputError


def test_the_smallest_of_all_layers_go():
    rng = np.random.default_rng(0)
    weights = {"a": rng.normal(size=(4, 5)), "b": 0.1 * rng.normal(size=(3, 10))}
    masks = find_masks(weights, 0.4)
    kept = np.concatenate([np.abs(weights[n])[masks[n]] for n in weights])
    gone = np.concatenate([np.abs(weights[n])[~masks[n]] for n in weights])
    assert len(gone) == 20
    assert gone.max() < kept.min()
    assert (~masks["b"]).sum() > 15  # its weights are a tenth


def test_equal_weights_go_in_order_and_nothing_goes_at_zero():
    weights = {"a": np.ones((2, 2)), "b": np.ones(4)}
    masks = find_masks(weights, 0.25)
    assert masks["a"].tolist() == [[False, False], [True, True]]
    assert masks["b"].all()
    assert all(mask.all() for mask in find_masks(weights, 0).values())
    assert find_masks({}, 0.5) == {}
    for fraction in (-0.1, 1.0, float("nan")):
        with pytest.raises(InputError, match="fraction of weights to prune"):
            find_masks(weights, fraction)


def test_biases_and_normalizations_of_a_network_stay():
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.LayerNorm(4), nn.Linear(4, 3))
    before = {name: p.clone() for name, p in network.named_parameters()}
    masks = prune_weights(network, 0.5)
    assert set(masks) == {"0.weight", "2.weight"}
    for name, p in network.named_parameters():
        if name in masks:
            assert torch.equal(p != 0, torch.from_numpy(masks[name]))
            assert torch.equal(p[p != 0], before[name][p != 0])
        else:
            assert torch.equal(p, before[name])


def test_weights_of_an_onnx_model():
    pytest.importorskip("onnx")
    from helpers.compressed_networks import make_model
    from ilk.compression.channel_groups import read_constants
    from ilk.compression.magnitude import prune_onnx_weights

    before, after = make_model(), prune_onnx_weights(make_model(), 0.5)
    old, new = read_constants(before), read_constants(after)
    zeros = sum(int((new[n] == 0).sum()) for n in ("w1", "w2", "w3"))
    assert zeros == round(0.5 * sum(old[n].size for n in ("w1", "w2", "w3")))
    np.testing.assert_array_equal(old["b1"], new["b1"])
