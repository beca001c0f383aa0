"""How a torch network is run: eagerly, channels last, or by OpenVINO.

Every runtime gives the same features to rounding (the benchmark `encode` measures by how much), so
the runtime is no part of an encoder's address. The precision is. `torch.compile` is not offered: it
wants a C++ compiler and a minute, and comes out behind OpenVINO.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from ilk.data import Features
from ilk.encoders.hub import installed
from ilk.encoders.preprocess import Pixels, Preprocess
from ilk.errors import InputError, UnknownName

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

RUNTIMES = ("torch", "channels-last", "openvino")
PRECISIONS = ("float32", "bfloat16")
CPU_BATCH = 4  # activations of more images fall out of a core's cache: 16 at once run half as fast
GPU_BATCH = 64


def check(runtime: str, precision: str, device: str) -> None:
    """Refuse a runtime that does not exist or does not fit.

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
        installed("openvino", "openvino")


class Runner:
    """A network that is ready to run: pixels in, features out. Safe to call from several threads.

    Args:
        network: Takes normalised images `[b, 3, h, w]`, gives `[b, d]`; float32, on the CPU.
        device: Where it runs; a device, not `auto`.
    """

    def __init__(
        self, network: Module, preprocess: Preprocess, device: str, runtime: str, precision: str
    ) -> None:
        self.batch = CPU_BATCH if device == "cpu" else GPU_BATCH
        self.normalise = preprocess.normalise
        network = network.eval().requires_grad_(False)
        # On a GPU threads take turns, on a CPU they run abreast.
        cpu = device == "cpu"
        self._turn: AbstractContextManager[Any] = nullcontext() if cpu else threading.Lock()
        if runtime == "openvino":
            self._run = _openvino(network, preprocess)
        else:
            self._run = _torch(network, device, runtime, precision)

    def __call__(self, batch: Pixels) -> Features:
        """Features `[b, d]` of pixels `[b, 3, h, w]`."""
        parts = [batch[i : i + self.batch] for i in range(0, len(batch), self.batch)]
        return np.concatenate([self.forward(self.normalise(part)) for part in parts])

    def forward(self, x: Tensor) -> Features:
        """Features `[b, d]` of normalised images `[b, 3, h, w]` on the CPU, all at once."""
        with self._turn:
            return self._run(x)


def _torch(
    network: Module, device: str, runtime: str, precision: str
) -> Callable[[Tensor], Features]:
    import torch

    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    wide = runtime == "channels-last" and device != "mps"
    layout = torch.channels_last if wide else torch.contiguous_format
    network = network.to(device=device, dtype=dtype)
    network = network.to(memory_format=layout)  # type: ignore[call-overload]

    def run(x: Tensor) -> Features:
        # cuDNN would otherwise round the factors of float32 convolutions to 10 bits.
        exact = torch.backends.cudnn.flags(allow_tf32=False) if "cuda" in device else nullcontext()
        with torch.inference_mode(), exact:
            x = x.to(device=device, dtype=dtype, memory_format=layout)
            features: Features = network(x).float().cpu().numpy()
        return features

    return run


def _openvino(network: Module, preprocess: Preprocess) -> Callable[[Tensor], Features]:
    import openvino
    import torch

    example = torch.zeros(2, 3, *preprocess.size)
    try:
        with torch.inference_mode(), warnings.catch_warnings(action="ignore"):  # it traces
            model = openvino.convert_model(network, example_input=example)
    except RuntimeError as error:
        raise InputError("OpenVINO cannot convert this network; use --runtime torch") from error
    # By default some CPUs would round to bfloat16; and one stream for each thread that asks.
    compiled = openvino.compile_model(
        model,
        "CPU",
        {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "THROUGHPUT"},
    )
    mine = threading.local()

    def run(x: Tensor) -> Features:
        if not hasattr(mine, "request"):
            mine.request = compiled.create_infer_request()
        found = mine.request.infer([x.numpy()], share_inputs=True)
        return np.array(found[compiled.output(0)], np.float32)

    return run
