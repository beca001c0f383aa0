"""Run a torch network: eagerly, channels-last, or with OpenVINO.

Every runtime gives the same features up to rounding (the benchmark `encode` measures it), so the
runtime is not part of a feature space. The precision is. `torch.compile` is not offered: it
needs a C++ compiler and a minute, and is slower than OpenVINO.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from ilk.core.data import Features
from ilk.core.errors import InputError, UnknownName
from ilk.hub.client import require_package
from ilk.hub.preprocessing import PixelArray, Preprocess

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

RUNTIMES = ("torch", "channels-last", "openvino")
PRECISIONS = ("float32", "bfloat16")
CPU_BATCH_SIZE = 4  # larger batches exceed a core's cache: 16 run at half the speed
GPU_BATCH_SIZE = 64


def check_runtime(runtime: str, precision: str, device: str) -> None:
    """Check that a runtime exists and supports precision and device.

    Raises:
        UnknownName, InputError: No such runtime or precision, or not on that device.
        Unavailable: Its package is not installed.
    """
    if runtime not in RUNTIMES:
        raise UnknownName("runtime", runtime, RUNTIMES)
    if precision not in PRECISIONS:
        raise UnknownName("precision", precision, PRECISIONS)
    if runtime == "openvino":
        if device not in ("cpu", "auto"):
            raise InputError(f"runtime 'openvino' runs on the CPU, not on {device!r}")
        if precision != "float32":
            raise InputError(f"runtime 'openvino' gives float32 features, not {precision}")
        require_package("openvino", "openvino")


class Runner:
    """A network that is ready to run: pixels in, features out. Safe to call from several threads.

    Args:
        network: Maps normalized images `[b, 3, h, w]` to features `[b, d]`; float32, on the CPU.
        preprocess: Its preprocessing.
        device: `cpu`, `cuda`, `cuda:N` or `mps`; not `auto`.
        runtime: One of `RUNTIMES`.
        precision: One of `PRECISIONS`.
    """

    def __init__(
        self, network: Module, preprocess: Preprocess, device: str, runtime: str, precision: str
    ) -> None:
        self.batch_size = CPU_BATCH_SIZE if device == "cpu" else GPU_BATCH_SIZE
        self.normalize = preprocess.normalize
        network = network.eval().requires_grad_(False)
        # Threads take turns on a GPU and run in parallel on a CPU.
        cpu = device == "cpu"
        self._lock: AbstractContextManager[Any] = nullcontext() if cpu else threading.Lock()
        if runtime == "openvino":
            self._run = _make_openvino_run(network, preprocess)
        else:
            self._run = _make_torch_run(network, device, runtime, precision)

    def __call__(self, batch: PixelArray) -> Features:
        """Return features `[b, d]` of pixels `[b, 3, h, w]`."""
        parts = [batch[i : i + self.batch_size] for i in range(0, len(batch), self.batch_size)]
        return np.concatenate([self.forward(self.normalize(part)) for part in parts])

    def forward(self, x: Tensor) -> Features:
        """Return features `[b, d]` of normalized images `[b, 3, h, w]` on the CPU, as one batch."""
        with self._lock:
            return self._run(x)


def _make_torch_run(
    network: Module, device: str, runtime: str, precision: str
) -> Callable[[Tensor], Features]:
    import torch

    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    channels_last = runtime == "channels-last" and device != "mps"
    layout = torch.channels_last if channels_last else torch.contiguous_format
    network = network.to(device=device, dtype=dtype)
    network = network.to(memory_format=layout)  # type: ignore[call-overload]

    def run(x: Tensor) -> Features:
        # By default cuDNN rounds the factors of float32 convolutions to 10 bits (TF32).
        no_tf32 = (
            torch.backends.cudnn.flags(allow_tf32=False) if "cuda" in device else nullcontext()
        )
        with torch.inference_mode(), no_tf32:
            x = x.to(device=device, dtype=dtype, memory_format=layout)
            features: Features = network(x).float().cpu().numpy()
        return features

    return run


def _make_openvino_run(network: Module, preprocess: Preprocess) -> Callable[[Tensor], Features]:
    import openvino
    import torch

    example = torch.zeros(2, 3, *preprocess.size)
    try:
        with torch.inference_mode(), warnings.catch_warnings(action="ignore"):  # it traces
            model = openvino.convert_model(network, example_input=example)
    except RuntimeError as error:
        raise InputError("OpenVINO cannot convert this network; use --runtime torch") from error
    # By default some CPUs round to bfloat16. THROUGHPUT gives each thread a stream.
    compiled = openvino.compile_model(
        model,
        "CPU",
        {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "THROUGHPUT"},
    )
    thread_local = threading.local()

    def run(x: Tensor) -> Features:
        if not hasattr(thread_local, "request"):
            thread_local.request = compiled.create_infer_request()
        outputs = thread_local.request.infer([x.numpy()], share_inputs=True)
        return np.array(outputs[compiled.output(0)], np.float32)

    return run
