"""Channels that can go are found, the cheapest go, and the rest is fitted: by least squares."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from helpers.compressed_networks import HIDDEN, WIDTH, make_model
from ilk.compression.channel_groups import ChannelGroup, cut_channels, find_groups, read_constants
from ilk.compression.prune_channels import (
    MULTIPLE,
    _round_out,
    choose_kept,
    count_multiply_adds,
    measure_moments,
    prune_channels,
    rank_channels,
)
from ilk.core.errors import InputError
from ilk.encoders.engines import INPUT, OUTPUT
from ilk.export.quantize import run_network


def make_batches(n=40, seed=0):
    x = np.random.default_rng(seed).normal(size=(n, 3, 16, 16)).astype(np.float32)
    return [x[i : i + 8] for i in range(0, n, 8)]


def build(nodes, constants, channels=4):
    """A model of images `[b, 3, 6, 6]` from nodes and constants by name."""
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [
            helper.make_node(op, i, o, name=f"{op}_{n}", **a)
            for n, (op, i, o, a) in enumerate(nodes)
        ],
        "g",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["b", 3, 6, 6])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def conv(rng, outputs, inputs):
    return rng.normal(size=(outputs, inputs, 1, 1))


def test_the_middle_of_an_inverted_bottleneck_is_a_group():
    [group] = find_groups(make_model())
    assert (group.name, group.n, group.readers) == ("expand", HIDDEN, ["project"])
    assert group.depthwise == ["depthwise"]
    assert set(group.slices) == {
        ("w1", 0), ("b1", 0), ("w2", 0), ("b2", 0), ("w3", 1),
    }  # fmt: skip


def test_channels_that_do_nothing_can_be_cut_without_a_change():
    model, keep = make_model(), np.arange(0, HIDDEN, 2)
    constants = read_constants(model)
    silent = np.setdiff1d(np.arange(HIDDEN), keep)
    groups = find_groups(model)

    def silence(name, array):
        if name == "w3":
            array = array.copy()
            array[:, silent] = 0
        return array

    quiet = cut_channels(model, {"expand": np.arange(HIDDEN)}, groups, silence)
    cut = cut_channels(quiet, {"expand": keep}, find_groups(quiet))
    [x] = make_batches(8)
    np.testing.assert_allclose(run_network(cut, x), run_network(quiet, x), atol=1e-5)
    assert read_constants(cut)["w2"].shape == (HIDDEN // 2, 1, 3, 3)
    assert constants["w2"].shape == (HIDDEN, 1, 3, 3)


def test_residual_channels_outputs_and_shared_weights_stay():
    rng = np.random.default_rng(0)
    weights = {"a": conv(rng, 4, 3), "b": conv(rng, 4, 4), "c": conv(rng, 5, 4)}
    residual = [
        ("Conv", [INPUT, "a"], ["x"], {}),
        ("Conv", ["x", "b"], ["y"], {}),
        ("Add", ["x", "y"], ["z"], {}),
        ("Conv", ["z", "c"], [OUTPUT], {}),
    ]
    assert find_groups(build(residual, weights)) == []
    gated = [
        ("Conv", [INPUT, "a"], ["x"], {}),
        ("Sigmoid", ["x"], ["s"], {}),
        ("Mul", ["x", "s"], ["y"], {}),
        ("Conv", ["y", "b"], [OUTPUT], {}),
    ]
    [group] = find_groups(build(gated, weights))  # a channel times its own sigmoid
    assert group.readers == ["Conv_3"]
    flattened = [
        ("Conv", [INPUT, "a"], ["x"], {}),
        ("Flatten", ["x"], ["y"], {}),
        ("Conv", ["x", "b"], ["z"], {}),
        ("ReduceMean", ["z"], [OUTPUT], {"axes": [2, 3]}),
    ]
    assert find_groups(build(flattened, weights)) == []


def test_hidden_units_of_a_perceptron_are_a_group():
    rng = np.random.default_rng(0)
    constants = {
        "a": rng.normal(size=(6, 16)),
        "p": rng.normal(size=16),
        "b": rng.normal(size=(16, 5)),
    }
    nodes = [
        ("MatMul", [INPUT, "a"], ["x"], {}),
        ("Add", ["p", "x"], ["y"], {}),
        ("Relu", ["y"], ["r"], {}),
        ("MatMul", ["r", "b"], [OUTPUT], {}),
    ]
    [group] = find_groups(build(nodes, constants))
    assert group.slices == [("a", 1), ("p", 0), ("b", 0)]
    assert not group.is_spatial


def test_the_error_of_each_step_is_that_of_least_squares():
    """The order's errors against a regression of the gone channels on the kept ones."""
    rng = np.random.default_rng(1)
    h = rng.normal(size=(4000, 24)) @ rng.normal(size=(24, 24))
    h -= h.mean(0)
    weight = rng.normal(size=(5, 24))
    covariance = h.T @ h / len(h)
    order, errors = rank_channels(weight, covariance)
    assert sorted(order) == list(range(24))
    ridge = 0.1 * np.trace(covariance) / 24
    regular = covariance + ridge * np.eye(24)
    total = np.einsum("oc,cd,od->", weight, regular, weight)
    for n_out in (8, 16):
        kept, gone = np.sort(order[n_out:]), np.sort(order[:n_out])
        inner = np.linalg.solve(regular[np.ix_(kept, kept)], regular[np.ix_(kept, gone)])
        rest = regular[np.ix_(gone, gone)] - regular[np.ix_(gone, kept)] @ inner
        expected = np.einsum("oc,cd,od->", weight[:, gone], rest, weight[:, gone]) / total
        assert errors[:n_out].sum() == pytest.approx(expected, rel=1e-6)
    assert errors.sum() == pytest.approx(1)


def test_pruning_is_better_than_cutting_alone():
    model, batches = make_model(), make_batches()
    pruned = prune_channels(model, batches, 0.4)
    before, after = pruned.kept["expand"]
    assert before == HIDDEN
    assert after % MULTIPLE == 0
    assert after < before
    kept_part = pruned.multiply_adds[1] / pruned.multiply_adds[0]
    assert kept_part == pytest.approx(after / before, abs=0.02)
    x = np.concatenate(make_batches(seed=3))
    exact = run_network(model, x)
    error = np.linalg.norm(run_network(pruned.model, x) - exact)
    groups = find_groups(model)
    rng = np.random.default_rng(0)
    random = [
        cut_channels(model, {"expand": np.sort(rng.permutation(HIDDEN)[:after])}, groups)
        for _ in range(5)
    ]
    others = [np.linalg.norm(run_network(cut, x) - exact) for cut in random]
    assert error < 0.5 * min(others)
    seen = np.concatenate(batches)  # there, the mean of what the layer gives is what it was
    shift = run_network(pruned.model, seen).mean(0) - run_network(model, seen).mean(0)
    assert np.abs(shift).max() < 0.1
    assert run_network(pruned.model, x).shape == (len(x), WIDTH)


def test_a_fraction_of_the_multiply_adds_goes_and_each_group_keeps_some():
    costs = count_multiply_adds(make_model(), make_batches(8)[0][:1])
    assert costs == {
        "expand": 16 * 16 * HIDDEN * 3, "depthwise": 16 * 16 * HIDDEN * 9,
        "project": 16 * 16 * HIDDEN * WIDTH,
    }  # fmt: skip
    groups = find_groups(make_model())
    orders = {"expand": (np.arange(HIDDEN)[::-1], np.arange(HIDDEN) / HIDDEN)}
    for fraction, n in ((0.01, HIDDEN - 8), (0.5, HIDDEN - 16), (0.94, 8)):
        kept = choose_kept(groups, orders, costs, fraction)["expand"]
        assert kept.tolist() == list(range(n))


def test_a_network_without_such_channels_is_refused():
    weights = {"a": conv(np.random.default_rng(0), 4, 3)}
    nodes = [("Conv", [INPUT, "a"], ["x"], {}), ("ReduceMean", ["x"], [OUTPUT], {"axes": [2, 3]})]
    with pytest.raises(InputError, match=r"tiny has no inner channels .* leave --prune out"):
        prune_channels(build(nodes, weights), make_batches(), 0.5, name="tiny")


def test_constants_without_axes_stay_so():
    model = make_model()
    from onnx import numpy_helper

    model.graph.initializer.append(numpy_helper.from_array(np.array(2.0, np.float32), "scalar"))
    groups = find_groups(model)
    cut = cut_channels(model, {groups[0].name: np.arange(8)}, groups)
    assert next(list(t.dims) for t in cut.graph.initializer if t.name == "scalar") == []


def test_moments_are_mean_and_covariance_over_images_and_places():
    model, batches = make_model(), make_batches(16)
    [group] = find_groups(model)
    found = measure_moments(model, [group], batches)[group.name]
    constants = read_constants(model)
    x = np.concatenate(batches).transpose(0, 2, 3, 1)
    h = np.maximum(x @ constants["w1"][:, :, 0, 0].T + constants["b1"], 0)
    padded = np.pad(h, ((0, 0), (1, 1), (1, 1), (0, 0)))
    kernel = constants["w2"][:, 0]
    h = sum(padded[:, i : i + 16, j : j + 16] * kernel[:, i, j] for i in range(3) for j in range(3))
    rows = np.maximum(h + constants["b2"], 0).reshape(16, 256, HIDDEN)[:, ::2].reshape(-1, HIDDEN)
    np.testing.assert_allclose(found.mean, rows.mean(0), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.covariance, np.cov(rows.T, bias=True), rtol=1e-3, atol=1e-3)


def test_the_cheapest_channels_of_all_layers_go_first():
    groups = [ChannelGroup(name, n, True) for name, n in (("a", 16), ("b", 32), ("c", 24))]
    orders = {
        "a": (np.arange(16), np.full(16, 0.5)),
        "b": (np.arange(32)[::-1], np.repeat([0.01, 0.02, 0.6, 0.9], 8)),
        "c": (np.arange(24), np.full(24, 0.03)),
    }
    costs = {"a": 1600, "b": 3200, "c": 2400}  # 100 for each channel
    kept = choose_kept(groups, orders, costs, 1500 / 7200)
    assert [len(kept[name]) for name in "abc"] == [16, 16, 24]
    assert kept["b"].tolist() == list(range(16))
    kept = choose_kept(groups, orders, costs, 2300 / 7200)
    assert [len(kept[name]) for name in "abc"] == [16, 16, 16]


@pytest.mark.parametrize(("n", "n_out", "out"), [(32, 8, 8), (20, 8, 4), (20, 0, 0), (17, 16, 9)])
def test_a_multiple_of_channels_stays(n, n_out, out):
    assert _round_out(n, n_out) == out
    assert not n_out or (n - out) % MULTIPLE == 0


def make_chain(rng, silent_a, silent_b, bias=1.0):
    """Three convolutions, of which the second has a kernel; some channels are always 0.

    The weights that read those are small, so that they go first.
    """
    weights = {
        "a": conv(rng, 16, 3), "ba": np.full(16, bias),
        "b": rng.normal(size=(16, 16, 3, 3)), "bb": np.full(16, bias),
        "c": conv(rng, 5, 16), "bc": rng.normal(size=5),
    }  # fmt: skip
    for name, reader, silent in (("a", "b", silent_a), ("b", "c", silent_b)):
        weights[name][silent] = 0
        weights[f"b{name}"][silent] = 0
        weights[reader][:, silent] *= 0.05
    nodes = [
        ("Conv", [INPUT, "a", "ba"], ["x"], {}),
        ("Relu", ["x"], ["y"], {}),
        ("Conv", ["y", "b", "bb"], ["z"], {}),
        ("Relu", ["z"], ["w"], {}),
        ("Conv", ["w", "c", "bc"], [OUTPUT], {}),
    ]
    return build(nodes, weights)


def test_a_layer_is_cut_at_both_ends():
    """Channels that are always 0 go from two layers in a row, and nothing changes."""
    even, high = np.arange(0, 16, 2), np.arange(8)
    model = make_chain(np.random.default_rng(0), even, high)
    batches = [np.random.default_rng(1).normal(size=(8, 3, 6, 6)).astype(np.float32)]
    pruned = prune_channels(model, batches, 0.5)
    assert pruned.kept == {"Conv_0": (16, 8), "Conv_2": (16, 8)}
    assert read_constants(pruned.model)["b"].shape == (8, 8, 3, 3)
    np.testing.assert_allclose(
        run_network(pruned.model, batches[0]), run_network(model, batches[0]), rtol=1e-3, atol=1e-3
    )


def test_what_a_kernel_read_in_the_mean_is_added_to_its_bias():
    """Channels that are always the same number go without a loss, at every place of the kernel."""
    rng = np.random.default_rng(0)
    model = make_chain(rng, np.arange(8), [])
    constants = read_constants(model)
    from onnx import numpy_helper

    constant = np.where(np.arange(16) < 8, 30.0, constants["ba"]).astype(np.float32)
    [tensor] = [t for t in model.graph.initializer if t.name == "ba"]
    tensor.CopyFrom(numpy_helper.from_array(constant, "ba"))
    batches = [rng.normal(size=(8, 3, 6, 6)).astype(np.float32)]
    costs = count_multiply_adds(model, batches[0][:1])
    fraction = (costs["Conv_0"] + costs["Conv_2"]) / sum(costs.values()) * 0.49
    pruned = prune_channels(model, batches, fraction)
    assert pruned.kept["Conv_0"] == (16, 8)
    assert pruned.kept["Conv_2"] == (16, 16)
    np.testing.assert_allclose(
        run_network(pruned.model, batches[0]), run_network(model, batches[0]), rtol=1e-3, atol=1e-2
    )


def test_a_scale_that_two_layers_share_is_not_cut():
    rng = np.random.default_rng(0)
    weights = {"a": conv(rng, 4, 3), "s": rng.normal(size=(1, 4, 1, 1)), "b": conv(rng, 4, 4)}
    nodes = [
        ("Conv", [INPUT, "a"], ["x"], {}),
        ("Mul", ["x", "s"], ["y"], {}),
        ("Conv", ["y", "b"], ["z"], {}),
    ]
    [group] = find_groups(build([*nodes, ("Relu", ["z"], [OUTPUT], {})], weights))
    assert ("s", 1) in group.slices
    assert find_groups(build([*nodes, ("Mul", ["z", "s"], [OUTPUT], {})], weights)) == []
