"""Expressions that write themselves as nodes of an ONNX graph.

An `Expression` stands for a value that is computed when the file runs. Its operators append nodes,
so that the writer of a formula reads like its NumPy form. Closed forms are computed in float64,
like those of ilk; weights are stored in the type that they are saved in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

OPSET = 18
IR_VERSION = 10
END = np.iinfo(np.int64).max  # as the end of a slice: up to the end of the axis


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes of a graph, in the order in which they run, and its constants.

    Attributes:
        nodes: The nodes.
        constants: The constants, by name.
        parent: The graph that a branch belongs to, which holds its constants and counts its names.
        networks: ONNX models of networks by key, to be used instead of those of torch.
    """

    nodes: list[Any] = field(default_factory=list)
    constants: dict[str, Any] = field(default_factory=dict)
    parent: Graph | None = None
    networks: Mapping[str, Any] = field(default_factory=dict)
    _scalars: dict[tuple[str, str], Expression] = field(default_factory=dict)
    _counter: list[int] = field(default_factory=lambda: [0])

    @property
    def root(self) -> Graph:
        """The outermost graph."""
        return self.parent.root if self.parent else self

    def make_name(self, stem: str) -> str:
        """Return a name that no other value of the file has."""
        self.root._counter[0] += 1
        return f"{stem}_{self.root._counter[0]}"

    def constant(self, value: Any, dtype: Any = None) -> Expression:
        """Return a constant; equal scalars are stored once."""
        from onnx import numpy_helper

        array = np.ascontiguousarray(np.asarray(value, dtype)).reshape(np.shape(value))
        key, root = (array.dtype.str, repr(array.tolist()) if array.size < 9 else ""), self.root
        key = (key[0], f"{array.shape}{key[1]}")
        if array.size < 9 and key in root._scalars:
            return replace_graph(root._scalars[key], self)
        name = self.make_name("constant")
        root.constants[name] = numpy_helper.from_array(array, name)
        tensor = Expression(self, name, array.dtype)
        if array.size < 9:
            root._scalars[key] = tensor
        return tensor

    def weight(self, array: NDArray[Any]) -> Expression:
        """Return an array of any shape `[...]` as float64, stored in its own type."""
        return self.constant(array).cast(np.float64)

    def apply(self, op: str, *inputs: Any, dtype: Any = None, **attributes: Any) -> Expression:
        """Append a node and return its output.

        Args:
            op: Type of the node.
            *inputs: Tensors, or numbers and arrays, which become constants of the type of the first
                tensor; None leaves an optional input out.
            dtype: Type of the output; None is that of the first tensor.
            **attributes: Attributes of the node.
        """
        return self.apply_many(op, inputs, (dtype,), **attributes)[0]

    def apply_many(
        self, op: str, inputs: Any, dtypes: tuple[Any, ...], **attributes: Any
    ) -> list[Expression]:
        """Append a node with several outputs; as `apply`."""
        from onnx import helper

        first = next(value for value in inputs if isinstance(value, Expression))
        names = [
            ""
            if value is None
            else (
                value if isinstance(value, Expression) else self.constant(value, first.dtype)
            ).name
            for value in inputs
        ]
        outputs = [self.make_name(op.lower()) for _ in dtypes]
        self.nodes.append(helper.make_node(op, names, outputs, outputs[0], **attributes))
        return [
            Expression(self, name, np.dtype(dtype or first.dtype))
            for name, dtype in zip(outputs, dtypes, strict=True)
        ]

    def concatenate(self, tensors: list[Expression], axis: int) -> Expression:
        """Return tensors one after the other."""
        return tensors[0] if len(tensors) == 1 else self.apply("Concat", *tensors, axis=axis)

    def name_value(self, tensor: Expression, name: str) -> Expression:
        """Give a value a name of its own, such as that of an output."""
        from onnx import helper

        self.nodes.append(helper.make_node("Identity", [tensor.name], [name], f"name_{name}"))
        return Expression(self, name, tensor.dtype)


@dataclass(frozen=True, eq=False)
class Expression:
    """A value of a graph.

    Attributes:
        graph: The graph that operators append nodes to.
        name: Its name.
        dtype: Its type.
    """

    graph: Graph
    name: str
    dtype: np.dtype[Any]

    def __add__(self, other: Any) -> Expression:
        return self.graph.apply("Add", self, other)

    def __sub__(self, other: Any) -> Expression:
        return self.graph.apply("Sub", self, other)

    def __mul__(self, other: Any) -> Expression:
        return self.graph.apply("Mul", self, other)

    def __truediv__(self, other: Any) -> Expression:
        return self.graph.apply("Div", self, other)

    def __matmul__(self, other: Any) -> Expression:
        return self.graph.apply("MatMul", self, other)

    def __neg__(self) -> Expression:
        return self.graph.apply("Neg", self)

    def __gt__(self, other: Any) -> Expression:
        return self.graph.apply("Greater", self, other, dtype=np.bool_)

    def __ge__(self, other: Any) -> Expression:
        return self.graph.apply("GreaterOrEqual", self, other, dtype=np.bool_)

    def __lt__(self, other: Any) -> Expression:
        return self.graph.apply("Less", self, other, dtype=np.bool_)

    def __le__(self, other: Any) -> Expression:
        return self.graph.apply("LessOrEqual", self, other, dtype=np.bool_)

    def equals(self, other: Any) -> Expression:
        """Return where two values are equal."""
        return self.graph.apply("Equal", self, other, dtype=np.bool_)

    def __and__(self, other: Expression) -> Expression:
        return self.graph.apply("And", self, other)

    def __or__(self, other: Expression) -> Expression:
        return self.graph.apply("Or", self, other)

    def cast(self, dtype: Any) -> Expression:
        """Return the values in another type."""
        from onnx import helper

        if np.dtype(dtype) == self.dtype:
            return self
        to = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self.graph.apply("Cast", self, dtype=dtype, to=to)

    def map(self, op: str) -> Expression:
        """Apply an operator of one input, such as `Exp`."""
        return self.graph.apply(op, self)

    def maximum(self, other: Any) -> Expression:
        """Return the greater of two values, elementwise."""
        return self.graph.apply("Max", self, other)

    def minimum(self, other: Any) -> Expression:
        """Return the lesser of two values, elementwise."""
        return self.graph.apply("Min", self, other)

    def select(self, yes: Any, no: Any) -> Expression:
        """Return `yes` where this bool tensor is true, else `no`; one of them is a tensor."""
        tensor = yes if isinstance(yes, Expression) else no
        values = [
            v if isinstance(v, Expression) else self.graph.constant(v, tensor.dtype)
            for v in (yes, no)
        ]
        return self.graph.apply("Where", self, *values, dtype=tensor.dtype)

    def reduce(self, op: str, axis: int, keepdims: bool = True) -> Expression:
        """Reduce an axis by `Sum`, `Max`, `Min`, `Mean`, `L2` or `LogSumExp`."""
        axes = self.graph.constant([axis], np.int64)
        return self.graph.apply(f"Reduce{op}", self, axes, keepdims=int(keepdims))

    def reshape(self, *shape: int) -> Expression:
        """Return the values in another shape: 0 keeps an axis, -1 is what is left."""
        return self.graph.apply("Reshape", self, self.graph.constant(shape, np.int64))

    def transpose(self, *axes: int) -> Expression:
        """Return the values with axes in another order."""
        return self.graph.apply("Transpose", self, perm=list(axes))

    def gather(self, index: Any, axis: int = 0) -> Expression:
        """Return the values at positions along an axis; a scalar position removes the axis."""
        positions = index if isinstance(index, Expression) else self.graph.constant(index, np.int64)
        return self.graph.apply("Gather", self, positions, axis=axis)

    def slice(self, start: Any, stop: Any, axis: int, step: int = 1) -> Expression:
        """Return a part of an axis; start and stop are numbers or int64 scalars."""
        g = self.graph
        ends = [
            v.reshape(1) if isinstance(v, Expression) else g.constant([v], np.int64)
            for v in (start, stop)
        ]
        axes, steps = g.constant([axis], np.int64), g.constant([step], np.int64)
        return g.apply("Slice", self, *ends, axes, steps)

    def length(self, axis: int) -> Expression:
        """Return the length of an axis as an int64 scalar."""
        return self.graph.apply("Shape", self, dtype=np.int64).gather(axis)


def replace_graph(tensor: Expression, graph: Graph) -> Expression:
    """Return a value of an outer graph for operators of an inner one."""
    return Expression(graph, tensor.name, tensor.dtype)
