"""A compressed network that is made in milliseconds: two convolutions with fixed weights."""

from __future__ import annotations

import numpy as np

from ilk.encoders.compressed_folder import CompressedNetwork
from ilk.encoders.engines import INPUT, OUTPUT
from ilk.export.graphs.graph import IR_VERSION, OPSET
from ilk.hub.preprocessing import Preprocess

PREPROCESS = Preprocess((16, 16), (16, 16), "squash", "bilinear", (0.5,) * 3, (0.25,) * 3)
HIDDEN, WIDTH = 32, 6


def make_model(seed: int = 0, hidden: int = HIDDEN):
    """Return an ONNX model: convolution, rectifier, depthwise, rectifier, projection, mean."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(seed)
    shapes = {
        "w1": (hidden, 3, 1, 1), "b1": (hidden,),
        "w2": (hidden, 1, 3, 3), "b2": (hidden,),
        "w3": (WIDTH, hidden, 1, 1), "b3": (WIDTH,),
    }  # fmt: skip
    weights = [
        numpy_helper.from_array(rng.normal(0, 0.5, shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    weights.append(numpy_helper.from_array(np.array([2, 3]), "axes"))
    nodes = [
        helper.make_node("Conv", [INPUT, "w1", "b1"], ["c1"], name="expand"),
        helper.make_node("Relu", ["c1"], ["r1"], name="first"),
        helper.make_node(
            "Conv", ["r1", "w2", "b2"], ["c2"], name="depthwise", group=hidden, pads=[1, 1, 1, 1]
        ),
        helper.make_node("Relu", ["c2"], ["r2"], name="second"),
        helper.make_node("Conv", ["r2", "w3", "b3"], ["c3"], name="project"),
        helper.make_node("ReduceMean", ["c3", "axes"], [OUTPUT], name="mean", keepdims=0),
    ]
    size = list(PREPROCESS.size)
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["b", 3, *size])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["b", WIDTH])],
        weights,
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )


def make_network(seed: int = 0, **fields) -> CompressedNetwork:
    """Return a compressed network in float32."""
    content = make_model(seed).SerializeToString()
    base = {"name": "efficientnet-lite0", "key": "0"}
    return CompressedNetwork(content, PREPROCESS, WIDTH, False, base, **fields)


def write_network(folder, seed: int = 0, **fields) -> CompressedNetwork:
    """Write a compressed network to a folder, and return it."""
    network = make_network(seed, **fields)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in network.to_files().items():
        (folder / name).write_bytes(content)
    return network
