"""A network in 8 bits: static quantization with ONNX Runtime, per channel, layer by layer.

Benoit Jacob and others, 2018, Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference, arXiv 1712.05877, section 2: `r = s (q - z)`. Weights have a
scale per output channel, activations one of their range on calibration images.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Features
from ilk.encoders.engines import INPUT
from ilk.export.session import open_session
from ilk.export.static_pads import fold_pads

LAYERS = ("Conv", "Gemm", "MatMul")
BATCH_SIZE = 8


@dataclass(eq=False)
class QuantizableNetwork:
    """A network in float32, and what its activations are on calibration images.

    Attributes:
        model: ONNX model of normalized images `[b, 3, h, w]`.
        batches: Calibration images, each `[b, 3, h, w]` float32.
    """

    model: Any
    batches: Sequence[NDArray[np.float32]]
    _ranges: Any = field(default=None, init=False)

    @cached_property
    def prepared(self) -> Any:
        """The model with shapes of all values, and batch norms and padding folded."""
        import onnx
        from onnxruntime.quantization.shape_inference import quant_pre_process

        with tempfile.TemporaryDirectory() as folder, silence_advice():
            original, path = (Path(folder) / name for name in ("original.onnx", "network.onnx"))
            onnx.save(self.model, original)  # a model in memory would be changed
            quant_pre_process(original, path, skip_symbolic_shape=True)
            model = onnx.load(path)
        model = fold_pads(model, self.batches[0])
        for number, node in enumerate(model.graph.node):
            node.name = node.name or f"{node.op_type}_{number}"
        return model

    @property
    def layers(self) -> list[str]:
        """Names of the layers with weights."""
        constants = {tensor.name for tensor in self.prepared.graph.initializer}
        return [
            node.name
            for node in self.prepared.graph.node
            if node.op_type in LAYERS and any(name in constants for name in node.input)
        ]

    def measure_ranges(self) -> Any:
        """Return the ranges of all activations on the calibration images."""
        import onnx
        from onnxruntime.quantization.calibrate import CalibrationMethod, create_calibrator

        if self._ranges is None:
            with tempfile.TemporaryDirectory() as folder, silence_advice():
                path = Path(folder) / "network.onnx"
                onnx.save(self.prepared, path)
                calibrator = create_calibrator(
                    path,
                    list_operators(),
                    augmented_model_path=str(Path(folder) / "augmented.onnx"),
                    calibrate_method=CalibrationMethod.MinMax,
                )
                calibrator.collect_data(_Reader(self.batches))
                self._ranges = calibrator.compute_data()
                del calibrator
        return self._ranges

    def quantize(
        self,
        *,
        skipped: Sequence[str] = (),
        only: Sequence[str] = (),
        per_channel: bool = True,
        symmetric: bool = False,
        operators: Sequence[str] = (),
    ) -> Any:
        """Return the network in 8 bits.

        Args:
            skipped: Layers that stay in float32.
            only: The only layers that do not; empty for all.
            per_channel: Whether weights have a scale per output channel, else one per layer.
            symmetric: Whether activations have their zero in the middle of the range, which wastes
                half of it after a rectifier.
            operators: Types of operators that are quantized; empty for `list_operators()`.
        """
        import onnx
        from onnxruntime.quantization import QuantType
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

        copy = onnx.ModelProto()
        copy.CopyFrom(self.prepared)
        with silence_advice():
            quantizer = QDQQuantizer(
                copy,
                per_channel,
                False,
                QuantType.QInt8,
                QuantType.QUInt8,
                self.measure_ranges(),
                list(only),
                list(skipped),
                list(operators) or list_operators(),
                {"ActivationSymmetric": symmetric},
            )
            quantizer.quantize_model()
        return quantizer.model.model

    def rank_layers(self, batch: NDArray[np.float32]) -> list[str]:
        """Return the layers by how much the features change if they alone are quantized.

        Args:
            batch: Images, `[b, 3, h, w]`, on which the change is measured.
        """
        exact = run_network(self.prepared, batch)
        length = np.maximum(np.linalg.norm(exact, axis=1), np.finfo(np.float32).tiny)
        errors = {
            name: float(
                np.mean(
                    np.linalg.norm(run_network(self.quantize(only=[name]), batch) - exact, axis=1)
                    / length
                )
            )
            for name in self.layers
        }
        return sorted(errors, key=lambda name: -errors[name])


class _Reader:
    """The calibration images as ONNX Runtime reads them."""

    def __init__(self, batches: Sequence[NDArray[np.float32]]) -> None:
        self._batches = iter(batches)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """Return the next batch; None after the last."""
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: batch}

    def __iter__(self) -> Iterator[dict[str, NDArray[np.float32]]]:
        return ({INPUT: batch} for batch in self._batches)


def list_operators() -> list[str]:
    """Return the operators that are quantized: those with 8-bit kernels."""
    from onnxruntime.quantization.registry import QDQRegistry

    # A softmax, or a norm, in 8 bits loses much and gains nothing.
    left_out = {"Softmax", "LayerNormalization", "InstanceNormalization", "Where"}
    return sorted(set(QDQRegistry) - left_out)


def run_network(model: Any, images: NDArray[np.float32]) -> Features:
    """Return features `[n, d]` of normalized images `[n, 3, h, w]`."""
    return run_session(open_session(model.SerializeToString()), images)


def run_session(session: Any, images: NDArray[np.float32]) -> Features:
    """Return features `[n, d]` of normalized images `[n, 3, h, w]`; threads may share a session."""
    blocks = [images[i : i + BATCH_SIZE] for i in range(0, len(images), BATCH_SIZE)]
    return np.concatenate([session.run(None, {INPUT: block})[0] for block in blocks])


@contextmanager
def silence_advice() -> Iterator[None]:
    """Suppress the advice that the quantizer logs and warns of."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(level)
