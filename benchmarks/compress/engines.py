"""Times of ONNX networks on OpenVINO and ONNX Runtime, and what OpenVINO computes in 8 bits."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.encoders.engines import INPUT, OUTPUT
from ilk.export.session import open_session

CONFIG = {
    "INFERENCE_PRECISION_HINT": "f32",
    "PERFORMANCE_HINT": "LATENCY",
    "INFERENCE_NUM_THREADS": 1,
}
LAYERS = {"Convolution", "FullyConnected", "MatMul"}
Run = Callable[[NDArray[np.float32]], Any]


def compile_openvino(content: bytes) -> Any:
    """Compile an ONNX model for one thread."""
    import openvino

    core = openvino.Core()
    return core.compile_model(core.read_model(content), "CPU", CONFIG)


def open_engines(contents: Mapping[str, bytes]) -> dict[str, Run]:
    """Return what runs each network on each engine, by "ENGINE NETWORK"."""
    runs: dict[str, Run] = {}
    for name, content in contents.items():
        request = compile_openvino(content).create_infer_request()
        session = open_session(content)
        runs[f"OpenVINO {name}"] = lambda x, r=request: r.infer([x], share_inputs=True)  # type: ignore[misc]
        runs[f"ONNX Runtime {name}"] = lambda x, s=session: s.run([OUTPUT], {INPUT: x})  # type: ignore[misc]
    return runs


def measure_engines(
    contents: Mapping[str, bytes],
    batch: NDArray[np.float32],
    sizes: Sequence[int],
    seconds: float,
) -> dict[str, dict[str, float]]:
    """Return the median milliseconds per image by batch size, engines in turns.

    Args:
        contents: ONNX models by name.
        batch: Normalized images `[b, 3, h, w]`.
        sizes: Batch sizes.
        seconds: How long each engine runs per batch size, about.
    """
    runs = open_engines(contents)
    times: dict[str, dict[str, float]] = {}
    for size in sizes:
        x = np.ascontiguousarray(batch[:size])
        measured: dict[str, list[float]] = {name: [] for name in runs}
        for run in runs.values():
            run(x)
        end = time.perf_counter() + seconds * len(runs)
        while time.perf_counter() < end or len(measured[next(iter(runs))]) < 5:
            for name, run in runs.items():
                start = time.perf_counter()
                run(x)
                measured[name].append(time.perf_counter() - start)
        times[str(size)] = {n: 1000 * float(np.median(v)) / size for n, v in measured.items()}
    return times


def count_int8_layers(content: bytes) -> dict[str, int]:
    """Return how many layers with weights OpenVINO computes, and how many of them in 8 bits."""
    total = in_int8 = 0
    for operator in compile_openvino(content).get_runtime_model().get_ordered_ops():
        info = {
            key: _to_text(operator.get_rt_info()[key]) for key in ("layerType", "primitiveType")
        }
        if info["layerType"] in LAYERS:
            total += 1
            in_int8 += info["primitiveType"].endswith("_I8")
    return {"layers": total, "in 8 bits": in_int8}


def _to_text(value: Any) -> str:
    """Return an entry of OpenVINO's run-time information as text."""
    return str(value.astype(str))
