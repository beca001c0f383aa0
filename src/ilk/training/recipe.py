"""Settings of a training run: what is optimized and how, where, and what is saved."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import nn

from ilk.core.device import check_precision, pick_device
from ilk.core.errors import InputError
from ilk.core.progress import Progress, silent_progress
from ilk.training.optimizers import MuonAdamW, OptimizerConfig
from ilk.training.schedules import LinearDecay, Schedule


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters of a training run.

    Attributes:
        steps: Number of updates, >= 1.
        batch_size: Rows per update, over all processes, >= 1.
        lr: Highest learning rate, > 0.
        warmup: Updates of linear warm-up, >= 0, if no `schedule` is given: the learning rate then
            decays linearly to 0.
        weight_decay: Decoupled weight decay, >= 0.
        max_grad_norm: Gradients are clipped to this norm, > 0.
        ema_width: Width of the average of the weights, relative to the length of the run, in
            [0, 0.28); 0 takes the last weights.
        seed: Seed of the order of rows and of what objectives and augmentations draw.
        optimizer: The optimizer.
        schedule: Learning-rate schedule; None is `LinearDecay(warmup)`.
        layer_decay: Factor of the learning rate from each layer of the network to the one before
            it, in (0, 1]; 1 trains all layers alike. See `ilk.training.layer_rates`.
    """

    steps: int
    batch_size: int = 128
    lr: float = 2e-3
    warmup: int = 100
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    ema_width: float = 0.1
    seed: int = 0
    optimizer: OptimizerConfig = field(default=MuonAdamW())
    schedule: Schedule | None = None
    layer_decay: float = 1.0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch_size < 1 or self.warmup < 0:
            raise InputError(
                f"steps {self.steps} and batch_size {self.batch_size} must be at least 1, "
                f"warmup {self.warmup} at least 0"
            )
        if not (
            0 < self.lr < math.inf and self.max_grad_norm > 0 and 0 <= self.weight_decay < math.inf
        ):
            raise InputError(
                f"lr {self.lr} and max_grad_norm {self.max_grad_norm} must be above 0, "
                f"weight_decay {self.weight_decay} at least 0, and all finite"
            )
        if not 0 <= self.ema_width < 0.28:
            raise InputError(f"ema_width is {self.ema_width}; it must be at least 0 and below 0.28")
        if not 0 < self.layer_decay <= 1:
            raise InputError(f"layer_decay is {self.layer_decay}; it must be above 0 and at most 1")

    def get_schedule(self) -> Schedule:
        """Return the learning-rate schedule."""
        return LinearDecay(self.warmup) if self.schedule is None else self.schedule

    def compute_lr(self, step: int) -> float:
        """Return the learning rate of update `step`, counted from 0."""
        return self.get_schedule().compute_lr(self.lr, step, self.steps)

    def describe(self) -> dict[str, Any]:
        """Return all settings as JSON; the optimizer and the schedule with their class names."""
        named = {"optimizer": repr(self.optimizer), "schedule": repr(self.get_schedule())}
        described = {**asdict(self), **named}
        if self.layer_decay == 1:  # not in the saved states of earlier versions
            del described["layer_decay"]
        return described


@dataclass(frozen=True)
class DeviceConfig:
    """Where to train.

    Attributes:
        device: `cpu`, `cuda`, `cuda:1` or `mps`.
        precision: `float32`, or `bfloat16` for the arithmetic inside the network (weights, losses
            and updates stay float32).
        torch_compile: Compile the network with `torch.compile` first, which takes about a minute.
        channels_last: Keep images and the weights of convolutions with the channels last in memory,
            which is faster on a GPU with bfloat16. Values and saved files are the same.
    """

    device: str = "cpu"
    precision: str = "float32"
    torch_compile: bool = False
    channels_last: bool = False

    def __post_init__(self) -> None:
        check_precision(self.precision)

    @classmethod
    def for_device(cls, device: str = "auto") -> DeviceConfig:
        """Return the fastest settings that are exact enough on a device.

        On an NVIDIA or AMD GPU, bfloat16 where it computes that, the network compiled where torch
        finds its compiler (Triton), and the channels last; elsewhere float32.

        Args:
            device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.

        Raises:
            InputError: There is no device of that name.
            Unavailable: This machine has no such device.
        """
        device = pick_device(device)
        if not device.startswith("cuda"):
            return cls(device)
        import torch

        precision = "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
        return cls(device, precision, find_spec("triton") is not None, channels_last=True)


@dataclass(frozen=True)
class CheckpointConfig:
    """What is saved and reported during a run.

    Attributes:
        path: File of the run's state, resumed from if it exists; None saves nothing.
        interval: Updates between checkpoints, >= 1.
        on_checkpoint: Called at each checkpoint with the number of updates made, the mean loss
            since the last checkpoint, and the averaged network.
        progress: Reports each update.
    """

    path: Path | None = None
    interval: int = 1000
    on_checkpoint: Callable[[int, float, nn.Module], None] | None = None
    progress: Progress = silent_progress
