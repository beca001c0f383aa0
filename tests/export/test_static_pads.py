"""Padding that follows from the size becomes part of the convolution, and nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx

from ilk.architectures.efficientnet_lite import SamePadConv
from ilk.encoders.engines import export_onnx
from ilk.export.quantize import run_network
from ilk.export.static_pads import fold_pads

X = np.random.default_rng(0).normal(size=(2, 3, 15, 18)).astype(np.float32)


def export(network):
    torch.manual_seed(0)
    return onnx.load_from_string(export_onnx(network.eval(), X.shape[2:], 17))


def flatten(x):
    return x.reshape(len(x), -1)


def count(model, kind):
    return sum(node.op_type == kind for node in model.graph.node)


def test_padding_as_tensorflow_does_becomes_attributes():
    torch.manual_seed(1)
    network = nn.Sequential(
        SamePadConv(3, 4, 3, stride=2), nn.ReLU(), SamePadConv(4, 4, 5, stride=2, groups=4)
    )
    model = export(network)
    assert count(model, "Pad") == 2
    folded = fold_pads(model, X)
    assert count(folded, "Pad") == count(folded, "Shape") == 0
    assert count(model, "Pad") == 2  # the original stays
    expected, got = (flatten(run_network(m, X)) for m in (model, folded))
    np.testing.assert_allclose(got, expected, atol=1e-6)
    one = fold_pads(model, X[:1])
    np.testing.assert_allclose(flatten(run_network(one, X)), expected, atol=1e-6)


@pytest.mark.parametrize(
    "pad", [nn.ConstantPad2d(1, 0.5), nn.ReflectionPad2d(1), nn.ConstantPad2d((-1, 1, 0, 0), 0.0)]
)
def test_other_padding_stays(pad):
    model = export(nn.Sequential(pad, nn.Conv2d(3, 4, 3)))
    folded = fold_pads(model, X)
    assert count(folded, "Pad") == count(model, "Pad")
    np.testing.assert_allclose(run_network(folded, X), run_network(model, X), atol=1e-6)


def test_padding_that_something_else_reads_stays():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x):
            padded = nn.functional.pad(x, (1, 1, 1, 1))
            return self.conv(padded) + padded

    model = export(Both())
    folded = fold_pads(model, X)
    assert count(folded, "Pad") == 1
    np.testing.assert_allclose(run_network(folded, X), run_network(model, X), atol=1e-6)
