"""Where a network runs."""

from __future__ import annotations

import re

from ilk.errors import InputError, Unavailable


def check(device: str) -> None:
    """Refuse a device that does not exist. Imports torch only when a GPU is asked for.

    Raises:
        InputError: It is not `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        Unavailable: It names a GPU that this machine, or this build of torch, does not have.
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
        found = f"torch {torch.__version__} finds {count} CUDA GPUs here"
        raise Unavailable(f"device {device!r} is not here: {found}; use --device auto or cpu")


def pick(device: str) -> str:
    """The device that `device` stands for: `auto` is a GPU where there is one, else the CPU."""
    check(device)
    if device != "auto":
        return device
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
