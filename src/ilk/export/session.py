"""Run an exported file on ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.export.build import PIXELS


class Session:
    """An exported model, ready to run.

    Args:
        content: Bytes of the file.
        threads: Threads per image; 0 leaves it to ONNX Runtime.
    """

    def __init__(self, content: bytes, threads: int = 1) -> None:
        self._session = open_session(content, threads)
        self.names = [output.name for output in self._session.get_outputs()]

    def run(
        self, pixels: NDArray[np.uint8], outputs: Sequence[str] | None = None
    ) -> dict[str, NDArray[Any]]:
        """Return the outputs by name, of pixels `[n, h, w, 3]`."""
        names = list(outputs or self.names)
        values = self._session.run(names, {PIXELS: np.ascontiguousarray(pixels)})
        return dict(zip(names, values, strict=True))


def open_session(content: bytes, threads: int = 1) -> Any:
    """Return a session of ONNX Runtime on the CPU, without its advice on standard error.

    Args:
        content: Bytes of an ONNX model.
        threads: Threads per run; 0 leaves it to ONNX Runtime.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    options.log_severity_level = 3  # errors
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def expose(model: Any, names: Sequence[str]) -> bytes:
    """Return the bytes of a model with further inner values among its outputs."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    present = {output.name for output in copy.graph.output}
    for name in names:
        if name not in present:
            copy.graph.output.append(onnx.ValueInfoProto(name=name))
    content: bytes = copy.SerializeToString()
    return content
