"""Run an ONNX network, also one in 8 bits, on OpenVINO or ONNX Runtime.

In 8 bits, engines round sums in different places, so their features differ by a few per cent, less
than what the 8 bits themselves change. An engine is used if it agrees that well with the arithmetic
that the file describes: on processors without instructions for 8 bits, sums may overflow.
"""

from __future__ import annotations

from contextlib import suppress
from importlib.util import find_spec

import numpy as np

from ilk.core.allocator import keep_freed_memory
from ilk.core.data import Features
from ilk.core.errors import InputError, Unavailable
from ilk.encoders import network_files
from ilk.encoders.engines import INPUT, OUTPUT, Engine, Run
from ilk.encoders.folding import compute_disagreement, make_probe
from ilk.encoders.runtime import Runner, list_engines
from ilk.hub.preprocessing import FloatArray, Preprocess

TOLERANCE = 0.2  # relative to the length of a row of features; rounding gives 0.05
BATCH_SIZE = 16  # by the benchmark `compress`: 8-bit kernels gain from larger batches


def open_onnx_runner(
    content: bytes, key: str, preprocess: Preprocess, *, runtime: str = "auto", name: str = ""
) -> Runner:
    """Make an ONNX network ready to run on the processor.

    Args:
        content: ONNX model of normalized images `[b, 3, h, w]`, from `INPUT` to `OUTPUT`.
        key: Key of its feature space.
        preprocess: Its preprocessing.
        runtime: `auto`, or an engine.
        name: Name of the encoder, for messages.

    Raises:
        Unavailable: No engine is installed.
        InputError: No engine can run the network.
    """
    keep_freed_memory()
    engines = list_engines(runtime, "float32", "cpu")
    if not engines:
        raise Unavailable(
            f"{name} needs OpenVINO or ONNX Runtime, and neither is installed: "
            "pip install 'ilk[openvino]'"
        )
    reasons = []
    for engine in engines:
        try:
            run = _open(engine, content, key, preprocess)
        except _Unusable as error:
            reasons.append(str(error))
        else:
            return Runner(run, preprocess, BATCH_SIZE, engine.label)
    raise InputError(f"{name} cannot run on this machine: {'; '.join(reasons)}")


class _Unusable(Exception):
    """An engine cannot run the network, or not rightly; the message says which."""


def _open(engine: Engine, content: bytes, key: str, preprocess: Preprocess) -> Run:
    """Open the network on an engine, compiled now or by an earlier process."""
    stamp = engine.get_stamp()
    if (found := network_files.read(key, engine.name, stamp)) is not None and not found[1]:
        with suppress(Exception):  # an engine may refuse what it once wrote; then it is made again
            return engine.open(found[0])
    probe = preprocess.normalize(make_probe(preprocess.size))
    try:
        compiled = engine.convert_onnx(content)
        run = engine.open(compiled)
        got = np.concatenate([run(probe), run(probe[:1])])  # batches of two sizes
        expected = compute_exactly(content, probe) if find_spec("onnxruntime") else got[:2]
    except Exception as error:  # whatever the engine raises
        lines = [line for line in str(error).splitlines() if line.strip()] or [repr(error)]
        raise _Unusable(f"{engine.label} cannot run it ({lines[0].strip()[:120]})") from error
    difference = compute_disagreement(got, np.concatenate([expected, expected[:1]]))
    if not difference <= TOLERANCE:
        raise _Unusable(f"{engine.label} gives features that differ by {difference:.1g}")
    network_files.write(key, engine.name, stamp, compiled)
    return run


def compute_exactly(content: bytes, x: FloatArray) -> Features:
    """Return features `[b, d]` of normalized images `[b, 3, h, w]`, operator by operator.

    Quantized values are computed with in float32, as the file says.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run([OUTPUT], {INPUT: x})[0], np.float32)
