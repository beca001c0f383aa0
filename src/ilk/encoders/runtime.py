"""Run a network: on torch, or on an inference engine where one is installed.

Every runtime gives the same features up to rounding, checked when a network is converted, so the
runtime is not part of a feature space. The precision is. `torch.compile` is not offered: it needs
a C++ compiler and a minute, and is slower than OpenVINO.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from ilk.core.allocator import keep_freed_memory
from ilk.core.data import Features
from ilk.core.device import check_precision
from ilk.core.errors import InputError, UnknownName
from ilk.encoders import converted, folding, network_files
from ilk.encoders.engines import ENGINES, Engine, Run
from ilk.hub.client import require_package
from ilk.hub.preprocessing import FloatArray, PixelArray, Preprocess

if TYPE_CHECKING:
    from torch.nn import Module

ENGINE_NAMES = tuple(engine.name for engine in ENGINES)
RUNTIMES = ("auto", "torch", *ENGINE_NAMES)
# By the benchmark `encode`: a quarter faster than 4, now that freed memory stays in the process.
# Before, each layer of a larger batch began on pages that the kernel had to clear (18,000 page
# faults per image at 32), which made 4 the fastest: see `ilk.core.allocator`.
CPU_BATCH_SIZE = 16
GPU_BATCH_SIZE = 64


def check_runtime(runtime: str, precision: str, device: str) -> None:
    """Check that a runtime exists and supports precision and device.

    Raises:
        UnknownName, InputError: No such runtime or precision, or not on that device.
        Unavailable: Its package is not installed.
    """
    if runtime not in RUNTIMES:
        raise UnknownName("runtime", runtime, RUNTIMES)
    check_precision(precision)
    for engine in ENGINES:
        if runtime != engine.name:
            continue
        if device not in ("cpu", "auto"):
            raise InputError(
                f"runtime {runtime!r} runs on the CPU, not on {device!r}; use --runtime torch"
            )
        if precision != "float32":
            raise InputError(
                f"runtime {runtime!r} gives float32 features, not {precision}; use --runtime torch"
            )
        require_package(engine.packages[0], engine.extra)


def list_engines(runtime: str, precision: str, device: str) -> list[Engine]:
    """Return the engines to try before torch, in order; `device` is not `auto`."""
    if runtime != "auto":
        return [engine for engine in ENGINES if engine.name == runtime]
    if device != "cpu" or precision != "float32":
        return []
    return [engine for engine in ENGINES if find_spec(engine.packages[0])]


class Runner:
    """A network that is ready to run: pixels in, features out. Safe to call from several threads.

    Args:
        run: Maps normalized images `[b, 3, h, w]` to features `[b, d]`.
        preprocess: The network's preprocessing.
        batch_size: Images per call of `run`.
        note: What it runs on, for the user: "OpenVINO", or torch and why.
        is_shared: Whether threads must take turns, as on a GPU.

    Attributes:
        batch_size: Images per call of `run`.
        normalize: Converts pixels to the floats that `forward` takes.
        note: What it runs on.
    """

    def __init__(
        self,
        run: Run,
        preprocess: Preprocess,
        batch_size: int,
        note: str = "torch",
        is_shared: bool = False,
    ) -> None:
        self.batch_size, self.note, self.normalize = batch_size, note, preprocess.normalize
        self._run = run
        self._lock: AbstractContextManager[Any] = threading.Lock() if is_shared else nullcontext()

    def __call__(self, batch: PixelArray) -> Features:
        """Return features `[b, d]` of pixels `[b, 3, h, w]`."""
        parts = [batch[i : i + self.batch_size] for i in range(0, len(batch), self.batch_size)]
        return np.concatenate([self.forward(self.normalize(part)) for part in parts])

    def forward(self, x: FloatArray) -> Features:
        """Return features `[b, d]` of normalized images `[b, 3, h, w]`, as one batch."""
        with self._lock:
            return self._run(x)


def open_runner(
    key: str,
    preprocess: Preprocess,
    build_network: Callable[[], Module],
    *,
    device: str,
    runtime: str,
    precision: str,
) -> Runner:
    """Make a network ready to run.

    Args:
        key: Key of its feature space.
        preprocess: Its preprocessing.
        build_network: Builds it in float32 on the CPU, mapping normalized images `[b, 3, h, w]` to
            features `[b, d]`; not called if a converted network is on this machine.
        device: `cpu`, `cuda`, `cuda:N` or `mps`; not `auto`.
        runtime: One of `RUNTIMES`; `auto` falls back to torch.
        precision: One of `PRECISIONS`.

    Raises:
        InputError: The requested engine cannot run this network.
    """
    if device == "cpu":
        keep_freed_memory()
    reasons: list[str] = []
    for engine in list_engines(runtime, precision, device):
        try:
            run = converted.open_converted(engine, key, preprocess, build_network)
        except converted.ConversionFailed as error:
            if runtime != "auto":
                raise InputError(f"{error}; use --runtime torch") from error
            reasons.append(str(error))
        else:
            return Runner(run, preprocess, engine.batch_size, engine.label)
    note = "torch" + "".join(f"; {reason}" for reason in reasons)
    run = _make_torch_run(key, build_network, preprocess, device, precision)
    is_cpu = device == "cpu"
    batch_size = CPU_BATCH_SIZE if is_cpu else GPU_BATCH_SIZE
    return Runner(run, preprocess, batch_size, note, is_shared=not is_cpu)


def _make_torch_run(
    key: str,
    build_network: Callable[[], Module],
    preprocess: Preprocess,
    device: str,
    precision: str,
) -> Run:
    import torch

    network = build_network().eval().requires_grad_(False)
    dtype, layout = torch.float32, torch.contiguous_format
    if precision == "bfloat16":  # folded weights would be rounded to other values
        dtype = torch.bfloat16
    else:
        network, plan = _optimize(key, network, preprocess)
        if device == "cpu" and plan.channels_last:
            layout = torch.channels_last
    network = network.to(device=device, dtype=dtype)
    network = network.to(memory_format=layout)  # type: ignore[call-overload]

    def run(x: FloatArray) -> Features:
        # By default cuDNN rounds the factors of float32 convolutions to 10 bits (TF32).
        no_tf32 = (
            torch.backends.cudnn.flags(allow_tf32=False) if "cuda" in device else nullcontext()
        )
        with torch.inference_mode(), no_tf32:
            y = torch.from_numpy(x).to(device=device, dtype=dtype, memory_format=layout)
            features: Features = network(y).float().cpu().numpy()
        return features

    return run


def _optimize(key: str, network: Module, preprocess: Preprocess) -> tuple[Module, folding.Plan]:
    """Apply the plan found for this network, now or by an earlier process, and return both."""
    import torch

    found = network_files.read(key, "torch", torch.__version__)
    if found is not None:
        plan = folding.Plan.from_bytes(found[0])
        with suppress(AttributeError):  # another version of its library names its modules otherwise
            return plan.apply(network), plan
    probe = torch.from_numpy(preprocess.normalize(folding.make_probe(preprocess.size)))
    plan = folding.find_plan(network, probe)
    network_files.write(key, "torch", torch.__version__, plan.to_bytes())
    return plan.apply(network), plan
