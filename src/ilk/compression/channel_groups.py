"""Inner channels of a network that can be removed, found in its ONNX graph.

A layer's output channels can go if whatever reads them treats each channel by itself (rectifiers,
depthwise convolutions, scaling) until a layer mixes them again: the wide middle of an inverted
bottleneck, the middle of a residual bottleneck, the hidden units of a transformer's perceptron.
Channels that a residual connection adds to are not inner ones and stay.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

UNARY = {
    *("Relu", "Clip", "LeakyRelu", "Sigmoid", "HardSigmoid", "HardSwish", "Gelu", "Tanh", "Erf"),
    *("Identity", "Elu", "Softplus"),
}
POOLS = {"MaxPool", "AveragePool", "GlobalAveragePool"}
BINARY = {"Add", "Sub", "Mul", "Div"}


@dataclass(eq=False)
class ChannelGroup:
    """Channels that can be removed together: one of each layer on the way.

    Attributes:
        name: Name of the layer that makes them.
        n: Their number.
        is_spatial: Whether they are axis 1 of images `[b, n, h, w]`, else the last axis.
        slices: Constants to cut, as name and axis.
        depthwise: Names of the depthwise convolutions on the way, whose groups become fewer.
        readers: Names of the layers that mix them.
        tensor: Name of the value that the first reader reads.
    """

    name: str
    n: int
    is_spatial: bool
    slices: list[tuple[str, int]] = field(default_factory=list)
    depthwise: list[str] = field(default_factory=list)
    readers: list[str] = field(default_factory=list)
    tensor: str = ""


class _Blocked(Exception):
    """Something on the way does not treat each channel by itself."""


def read_constants(model: Any) -> dict[str, NDArray[Any]]:
    """Return the constants of a model by name, `[...]` as the model has them."""
    from onnx import numpy_helper

    return {t.name: np.asarray(numpy_helper.to_array(t)) for t in model.graph.initializer}


def get_attribute(node: Any, name: str, default: Any = None) -> Any:
    """Return an attribute of a node, or the default."""
    from onnx import helper

    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


def find_groups(model: Any) -> list[ChannelGroup]:
    """Return the groups of channels of a network that can be removed, in the order of computation.

    Args:
        model: ONNX model whose nodes have different names and whose batch norms are folded.
    """
    constants = read_constants(model)
    readers: dict[str, list[Any]] = defaultdict(list)
    for node in model.graph.node:
        for name in dict.fromkeys(node.input):
            readers[name].append(node)
    uses = {name: len(nodes) for name, nodes in readers.items()}
    outputs = {output.name for output in model.graph.output}
    groups = []
    for node in model.graph.node:
        start = _start_group(node, constants)
        if start is None or any(uses[name] > 1 for name, _ in start.slices):
            continue
        try:
            _follow(start, node.output[0], readers, constants, outputs, uses)
        except _Blocked:
            continue
        if start.readers:
            groups.append(start)
    return groups


def _start_group(node: Any, constants: Mapping[str, NDArray[Any]]) -> ChannelGroup | None:
    """Return the output channels of a layer; None if the node is not a layer."""
    if node.op_type == "Conv" and node.input[1] in constants:
        weight = constants[node.input[1]]
        if get_attribute(node, "group", 1) != 1:
            return None
        slices = [(name, 0) for name in node.input[1:]]
        if any(name not in constants for name, _ in slices):
            return None
        return ChannelGroup(node.name, len(weight), True, slices)
    if node.op_type == "MatMul" and node.input[1] in constants:
        weight = constants[node.input[1]]
        if weight.ndim != 2:
            return None
        return ChannelGroup(node.name, weight.shape[1], False, [(node.input[1], 1)])
    if node.op_type == "Gemm" and all(name in constants for name in node.input[1:]):
        if get_attribute(node, "transA", 0):
            return None
        axis = 0 if get_attribute(node, "transB", 0) else 1
        slices = [(node.input[1], axis)]
        n = constants[node.input[1]].shape[axis]
        if len(node.input) > 2:
            if constants[node.input[2]].shape != (n,):
                return None
            slices.append((node.input[2], 0))
        return ChannelGroup(node.name, n, False, slices)
    return None


def _follow(
    group: ChannelGroup,
    first: str,
    readers: Mapping[str, list[Any]],
    constants: Mapping[str, NDArray[Any]],
    outputs: set[str],
    uses: Mapping[str, int],
) -> None:
    """Follow the channels to the layers that mix them; raises _Blocked."""
    values, pending = {first}, [first]
    joined: dict[str, Any] = {}  # nodes that read two values, of which one may not be known yet
    seen = set[str]()
    while pending:
        value = pending.pop()
        if value in outputs:
            raise _Blocked
        for node in readers.get(value, ()):
            if node.name in seen:
                continue
            if node.op_type in BINARY and not any(name in constants for name in node.input):
                joined[node.name] = node
                if not all(name in values for name in node.input):
                    continue
                del joined[node.name]
            elif _mixes(group, node, value, constants, uses):
                seen.add(node.name)
                continue
            seen.add(node.name)
            values.add(node.output[0])
            pending.append(node.output[0])
    if joined:
        raise _Blocked


def _mixes(
    group: ChannelGroup,
    node: Any,
    value: str,
    constants: Mapping[str, NDArray[Any]],
    uses: Mapping[str, int],
) -> bool:
    """Note what a node needs; whether it mixes the channels. Raises _Blocked."""
    if node.op_type in UNARY and node.input[0] == value:
        return False
    if node.op_type in POOLS and group.is_spatial:
        return False
    if node.op_type in BINARY:
        [other] = [name for name in node.input if name in constants]
        _cut_constant(group, other, constants[other], uses)
        return False
    if node.op_type == "Conv" and group.is_spatial and node.input[0] == value:
        names = list(node.input[1:])
        if any(name not in constants or uses[name] > 1 for name in names):
            raise _Blocked
        weight, n_groups = constants[names[0]], get_attribute(node, "group", 1)
        if n_groups == group.n == len(weight) and n_groups > 1:
            group.slices += [(name, 0) for name in names]
            group.depthwise.append(node.name)
            return False
        if n_groups == 1:
            _add_reader(group, node, value, (names[0], 1))
            return True
    is_matrix = node.op_type in ("MatMul", "Gemm") and not group.is_spatial
    if is_matrix and node.input[0] == value and node.input[1] in constants:
        if uses[node.input[1]] > 1 or get_attribute(node, "transA", 0):
            raise _Blocked
        if constants[node.input[1]].ndim == 2:
            axis = 1 if get_attribute(node, "transB", 0) else 0
            _add_reader(group, node, value, (node.input[1], axis))
            return True
    raise _Blocked


def _add_reader(group: ChannelGroup, node: Any, value: str, cut: tuple[str, int]) -> None:
    group.slices.append(cut)
    group.readers.append(node.name)
    group.tensor = group.tensor or value


def _cut_constant(
    group: ChannelGroup, name: str, constant: NDArray[Any], uses: Mapping[str, int]
) -> None:
    """Note the cut of a scale or shift per channel; one for all channels needs none."""
    if constant.size == 1:
        return
    axis = constant.ndim - (3 if group.is_spatial else 1)
    if axis < 0 or constant.shape[axis] != group.n or constant.size != group.n or uses[name] > 1:
        raise _Blocked
    group.slices.append((name, axis))


def cut_channels(
    model: Any,
    kept: Mapping[str, NDArray[np.int64]],
    groups: list[ChannelGroup],
    change: Callable[[str, NDArray[Any]], NDArray[Any]] | None = None,
) -> Any:
    """Return a network with fewer channels.

    Args:
        model: The ONNX model that `find_groups` read.
        kept: Positions of the channels that stay, `[m]`, sorted, by name of the group; all of a
            group that is not named.
        groups: What `find_groups` returned.
        change: Returns a constant that replaces one that was cut, by name; None changes nothing.
    """
    import onnx
    from onnx import helper, numpy_helper

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    arrays, n_kept = read_constants(copy), dict[str, int]()
    for group in groups:
        if group.name not in kept:
            continue
        for name, axis in group.slices:
            arrays[name] = np.take(arrays[name], kept[group.name], axis)
        n_kept |= dict.fromkeys(group.depthwise, len(kept[group.name]))
    for node in copy.graph.node:
        if node.name in n_kept:
            others = [a for a in node.attribute if a.name != "group"]
            del node.attribute[:]
            node.attribute.extend([*others, helper.make_attribute("group", n_kept[node.name])])
    if change is not None:
        arrays = {name: change(name, array) for name, array in arrays.items()}
    del copy.graph.initializer[:], copy.graph.value_info[:]
    copy.graph.initializer.extend(
        numpy_helper.from_array(np.array(array, order="C"), name) for name, array in arrays.items()
    )
    return onnx.shape_inference.infer_shapes(copy)
