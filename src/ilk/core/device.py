"""Select the device that a network runs on."""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path

from ilk.core.errors import InputError, Unavailable, UnknownName

# Files of Linux for the GPUs of torch: NVIDIA's, Jetson's, AMD's, those of Windows' subsystem.
GPU_FILES = ("nvidia*", "nvhost*", "nvmap", "kfd", "dxg")
PRECISIONS = ("float32", "bfloat16")


def check_precision(precision: str) -> str:
    """Return the precision of a network's computations if there is one of that name.

    Raises:
        UnknownName: There is none.
    """
    if precision not in PRECISIONS:
        raise UnknownName("precision", precision, PRECISIONS)
    return precision


def may_have_gpu() -> bool:
    """Whether torch may find a GPU; False only if it certainly finds none. Imports nothing."""
    try:
        if metadata.version("torch").endswith("+cpu"):
            return False
    except metadata.PackageNotFoundError:
        return True
    if sys.platform != "linux":
        return True
    return any(any(Path("/dev").glob(pattern)) for pattern in GPU_FILES)


def check_device(device: str) -> None:
    """Check that a device exists. Imports torch only if a GPU is requested.

    Raises:
        InputError: It is not `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        Unavailable: This machine, or this build of torch, has no such GPU.
    """
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", device):
        raise InputError(f"no device is called {device!r}; write auto, cpu, cuda, cuda:0 or mps")
    if device in ("auto", "cpu"):
        return
    import torch

    kind, _, number = device.partition(":")
    if kind == "mps":
        if not torch.backends.mps.is_available():
            raise Unavailable("device 'mps' needs a Mac with Apple silicon; use --device cpu")
        return
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count <= int(number or 0):
        available = f"torch {torch.__version__} finds {count} CUDA GPUs here"
        raise Unavailable(
            f"device {device!r} is not available: {available}; use --device auto or cpu"
        )


def pick_device(device: str) -> str:
    """Resolve `device`: `auto` is a GPU if there is one, else the CPU."""
    check_device(device)
    if device != "auto":
        return device
    if not may_have_gpu():
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
