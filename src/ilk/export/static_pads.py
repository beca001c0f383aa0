"""Padding by amounts that follow from the size of the input, as part of the convolution after it.

A network that pads its inputs as TensorFlow does computes the amounts from the shape of the tensor.
The images of an encoder have one size, so the amounts are constants, and a convolution can pad by
itself: engines have 8-bit kernels of convolutions, and of padding often not.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.encoders.engines import INPUT
from ilk.export.session import expose, open_session

N_SPATIAL = 2


def fold_pads(model: Any, images: NDArray[np.float32]) -> Any:
    """Return a network whose convolutions pad by themselves.

    Args:
        model: ONNX model of normalized images `[b, 3, h, w]`.
        images: Some of them, `[b, 3, h, w]`, to compute the amounts on.
    """
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    uses = Counter(name for node in graph.node for name in node.input)
    outputs = {output.name for output in graph.output}
    readers = {name: node for node in graph.node for name in node.input[:1]}
    found = [
        (node, conv)
        for node in graph.node
        if node.op_type == "Pad"
        and uses[node.output[0]] == 1
        and node.output[0] not in outputs
        and (conv := readers.get(node.output[0])) is not None
        and conv.op_type == "Conv"
    ]
    if not found:
        return copy
    amounts = _compute_amounts(model, [node for node, _ in found], images)
    for (node, conv), (pads, value) in zip(found, amounts, strict=True):
        if _can_fold(node, conv, pads, value):
            _add_pads(conv, pads)
            conv.input[0] = node.input[0]
            graph.node.remove(node)
    _remove_unused(graph)
    return copy


def _compute_amounts(
    model: Any, nodes: list[Any], images: NDArray[np.float32]
) -> list[tuple[NDArray[np.int64], float]]:
    """Return amounts `[8]` and the value of each padding."""
    names = [name for node in nodes for name in node.input[1:3] if name]
    constants = {t.name for t in model.graph.initializer}
    session = open_session(expose(model, [n for n in dict.fromkeys(names) if n not in constants]))
    wanted = [o.name for o in session.get_outputs()]
    values = dict(zip(wanted, session.run(wanted, {INPUT: images[:1]}), strict=True))
    values |= {t.name: _to_array(t) for t in model.graph.initializer if t.name in names}
    amounts = []
    for node in nodes:
        has_value = len(node.input) > 2 and node.input[2]
        value = float(np.ravel(values[node.input[2]])[0]) if has_value else 0.0
        amounts.append((np.asarray(values[node.input[1]], np.int64), value))
    return amounts


def _to_array(tensor: Any) -> NDArray[Any]:
    from onnx import numpy_helper

    return np.asarray(numpy_helper.to_array(tensor))


def _can_fold(node: Any, conv: Any, pads: NDArray[np.int64], value: float) -> bool:
    """Whether zeros are added to the two spatial axes alone, and to a convolution that may pad."""
    modes = [a.s for a in node.attribute if a.name == "mode"]
    auto = [a.s for a in conv.attribute if a.name == "auto_pad"]
    has_axes = len(node.input) > 3 and node.input[3]
    return (
        modes in ([], [b"constant"])
        and auto in ([], [b"NOTSET"])
        and not has_axes
        and value == 0
        and len(pads) == 2 * (2 + N_SPATIAL)
        and not pads[[0, 1, 4, 5]].any()
        and bool((pads >= 0).all())
    )


def _add_pads(conv: Any, pads: NDArray[np.int64]) -> None:
    import onnx

    own = next((list(a.ints) for a in conv.attribute if a.name == "pads"), [0] * 4)
    total = [int(a + b) for a, b in zip(own, pads[[2, 3, 6, 7]], strict=True)]
    kept = [a for a in conv.attribute if a.name != "pads"]
    del conv.attribute[:]
    conv.attribute.extend([*kept, onnx.helper.make_attribute("pads", total)])


def _remove_unused(graph: Any) -> None:
    """Remove nodes and constants that no output needs."""
    needed = {output.name for output in graph.output}
    kept = []
    for node in reversed(graph.node):  # which are in the order of computation
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    constants = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(reversed(kept))
    graph.initializer.extend(constants)
