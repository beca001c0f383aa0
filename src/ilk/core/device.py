"""Select the device that a network runs on."""

from __future__ import annotations

import re

from ilk.core.errors import InputError, Unavailable


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
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
