"""Inference engines that run a network without torch: OpenVINO and ONNX Runtime, on the CPU.

An engine turns a torch network into bytes once (`convert`); later processes open the bytes alone
(`open`). Both take normalized images `[b, 3, h, w]` of any b.
"""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Callable
from importlib import metadata
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from ilk.core.data import Features
from ilk.hub.preprocessing import FloatArray

if TYPE_CHECKING:
    from torch.nn import Module

Run = Callable[[FloatArray], Features]
INPUT, OUTPUT = "images", "features"


class Engine(Protocol):
    """An inference engine.

    Attributes:
        name: Its name, as after `--runtime`.
        label: Its name in messages.
        packages: Packages that it needs; those after the first only to convert.
        extra: The extra of ilk that installs them.
        batch_size: Images per batch, chosen by measurement (benchmark `encode`).
    """

    name: ClassVar[str]
    label: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]
    extra: ClassVar[str]
    batch_size: ClassVar[int]

    def get_stamp(self) -> str:
        """Return what a converted network depends on: the version, and the machine if it does."""
        ...

    def convert(self, network: Module, size: tuple[int, int]) -> bytes:
        """Convert a network in evaluation mode; raises whatever its packages raise."""
        ...

    def convert_onnx(self, content: bytes) -> bytes:
        """Convert an ONNX model from `INPUT` to `OUTPUT`, also one in 8 bits."""
        ...

    def open(self, content: bytes) -> Run:
        """Open what `convert` returned; the result may be called from several threads."""
        ...


class OpenVino(Engine):
    """OpenVINO. The bytes are a compiled model: they depend on version and processor."""

    name: ClassVar[str] = "openvino"
    label: ClassVar[str] = "OpenVINO"
    extra: ClassVar[str] = "openvino"
    packages: ClassVar[tuple[str, ...]] = ("openvino",)
    batch_size: ClassVar[int] = 4
    # By default some CPUs round to bfloat16. THROUGHPUT gives each thread a stream.
    config: ClassVar[dict[str, str]] = {
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "THROUGHPUT",
    }

    def get_stamp(self) -> str:
        """Return the version, and the processor with its instruction sets."""
        import openvino

        core = openvino.Core()
        names = ("FULL_DEVICE_NAME", "OPTIMIZATION_CAPABILITIES")
        machine = " ".join(str(core.get_property("CPU", name)) for name in names)
        return f"{metadata.version('openvino')} {machine}"

    def convert(self, network: Module, size: tuple[int, int]) -> bytes:
        """Trace, convert and compile."""
        import openvino
        import torch

        example = torch.zeros(2, 3, *size)
        with torch.inference_mode(), warnings.catch_warnings(action="ignore"):  # of tracing
            trace: Any = torch.jit.trace
            traced = trace(network, example, check_trace=False)
            model = openvino.convert_model(
                torch.jit.freeze(traced), example_input=example, input=[-1, 3, *size]
            )
        return self._compile(model)

    def convert_onnx(self, content: bytes) -> bytes:
        """Read the model, with its quantization, and compile."""
        import openvino

        return self._compile(openvino.Core().read_model(content))

    def _compile(self, model: Any) -> bytes:
        import openvino

        compiled = openvino.Core().compile_model(model, "CPU", self.config)
        blob: io.BytesIO = compiled.export_model()
        return blob.getvalue()

    def open(self, content: bytes) -> Run:
        """Import the compiled model; each thread has an inference request of its own."""
        import openvino

        compiled: Any = openvino.Core().import_model(content, "CPU", self.config)
        output = compiled.output(0)
        # The bindings initialize themselves on first use; two threads that do so at once can wait
        # for each other for ever.
        shape = [d.get_length() if d.is_static else 1 for d in compiled.input(0).partial_shape]
        compiled.create_infer_request().infer([np.zeros(shape, np.float32)], share_inputs=True)
        thread_local = threading.local()

        def run(x: FloatArray) -> Features:
            if not hasattr(thread_local, "request"):
                thread_local.request = compiled.create_infer_request()
            outputs = thread_local.request.infer([x], share_inputs=True)
            return np.array(outputs[output], np.float32)

        return run


def export_onnx(network: Module, size: tuple[int, int], opset: int | None = None) -> bytes:
    """Return a network in evaluation mode as an ONNX model from `INPUT` to `OUTPUT`.

    By tracing: `torch.export` gives the same operators for the networks that ilk knows, takes ten
    times as long and needs another package. Raises whatever torch raises.

    Args:
        network: Maps normalized images `[b, 3, h, w]` to features `[b, d]`.
        size: Height and width.
        opset: Version of the operators; None leaves it to torch.
    """
    import torch

    with (
        torch.inference_mode(),
        warnings.catch_warnings(action="ignore"),  # of tracing, and of torch's plans for it
    ):
        content = io.BytesIO()
        file: Any = content  # which torch takes, though its types do not say so
        torch.onnx.export(
            network,
            (torch.zeros(2, 3, *size),),
            file,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={INPUT: {0: "b"}, OUTPUT: {0: "b"}},
            opset_version=opset,
            dynamo=False,
        )
        return content.getvalue()


class OnnxRuntime(Engine):
    """ONNX Runtime. The bytes are an ONNX model."""

    name: ClassVar[str] = "onnxruntime"
    label: ClassVar[str] = "ONNX Runtime"
    extra: ClassVar[str] = "onnx"
    packages: ClassVar[tuple[str, ...]] = ("onnxruntime", "onnx")
    batch_size: ClassVar[int] = 2

    def get_stamp(self) -> str:
        """Return the version."""
        return metadata.version("onnxruntime")

    def convert(self, network: Module, size: tuple[int, int]) -> bytes:
        """Export the network to ONNX."""
        return export_onnx(network, size)

    def convert_onnx(self, content: bytes) -> bytes:
        """Return the model as it is: a session optimizes it."""
        return content

    def open(self, content: bytes) -> Run:
        """Open a session that runs in the calling thread: `encode` starts one per core."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

        def run(x: FloatArray) -> Features:
            return np.asarray(session.run([OUTPUT], {INPUT: x})[0], np.float32)

        return run


ENGINES: tuple[Engine, ...] = (OpenVino(), OnnxRuntime())
"""The fastest first: the order in which `auto` tries them."""
