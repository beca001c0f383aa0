"""Run a piece of an exported graph on its own."""

import numpy as np


def run_graph(write, x, name="x"):
    """Return what `write` computes of an array, on ONNX Runtime."""
    content = make_model(write, x.dtype, x.ndim, name).SerializeToString()
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return session.run(["y"], {name: x})[0]


def make_model(write, dtype, ndim, name="x"):
    """Return the ONNX model of what `write` computes of a tensor with axes of any length."""
    from onnx import helper

    from ilk.export.graphs.graph import IR_VERSION, OPSET, Expression, Graph

    graph = Graph()
    result = write(Expression(graph, name, np.dtype(dtype)))
    graph.name_value(result, "y")
    types = [helper.np_dtype_to_tensor_dtype(np.dtype(d)) for d in (dtype, result.dtype)]
    axes = [f"{name}{i}" for i in range(ndim)]
    onnx_graph = helper.make_graph(
        graph.nodes,
        "piece",
        [helper.make_tensor_value_info(name, types[0], axes)],
        [helper.make_tensor_value_info("y", types[1], None)],
        list(graph.constants.values()),
    )
    opset = [helper.make_opsetid("", OPSET)]
    return helper.make_model(onnx_graph, opset_imports=opset, ir_version=IR_VERSION)
