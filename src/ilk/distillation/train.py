"""Train a student by the one trainer, on answers of a teacher or on labels alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ilk.core.data import Labels, Logits
from ilk.core.metrics import log_loss
from ilk.core.progress import Progress, silent_progress
from ilk.distillation.config import DistillConfig
from ilk.distillation.pixels import Pixels
from ilk.distillation.students import LR, PRETRAINED_LR, Student
from ilk.trust.calibration import Calibration

if TYPE_CHECKING:
    from torch import nn

    from ilk.training.objective import Augmentation, Objective
    from ilk.training.sources import Source
    from ilk.training.validation import ValidationResult

ROUNDS, MIN_UPDATES, MAX_UPDATES = 30, 1000, 30_000
N_MEASURES = 40  # of the validation part in a whole run
BLOCK = 512  # images that are answered at a time
EMA_WIDTH = 0.05


@dataclass(frozen=True, eq=False)
class ValidationPart:
    """Labelled images that choose the state of the network.

    Attributes:
        pixels: `[n, c, h, w]` uint8.
        y: Their classes, `[n]`.
    """

    pixels: Pixels
    y: Labels


def make_normalization(student: Student, device: str) -> Augmentation:
    """Return the first step of training: pixels of 0 to 255 become what the network takes."""
    from ilk.training.normalizer import Normalizer

    normalize = Normalizer(student.preprocess, student.channels).to(device)
    return lambda batch, _generator: replace(batch, x=normalize(batch.x))


def count_updates(config: DistillConfig, n: int) -> int:
    """Return the number of updates for n training images."""
    if config.updates:
        return config.updates
    return min(MAX_UPDATES, max(MIN_UPDATES, ROUNDS * n // config.batch_size))


def train_student(
    student: Student,
    n_classes: int,
    source: Source,
    objective: Objective,
    augmentations: Sequence[Any],
    validation: ValidationPart,
    config: DistillConfig,
    *,
    device: str = "auto",
    state: Path | None = None,
    progress: Progress = silent_progress,
) -> tuple[nn.Module, ValidationResult]:
    """Train a student; the state with the least calibrated log loss on the validation part counts.

    Args:
        student: What it is.
        n_classes: Number of classes.
        source: Its training images, uint8.
        objective: The loss.
        augmentations: Random changes of images.
        validation: The validation part.
        config: Settings.
        device: Where to train.
        state: File that an interrupted run goes on from.
        progress: Reports each update.

    Returns:
        The network on the CPU, in evaluation mode, and how its training ended.

    Raises:
        InputError, OutputError, Unavailable: As `ilk.training.trainer.train`.
    """
    from ilk.training.objective import augment_objective
    from ilk.training.recipe import CheckpointConfig, DeviceConfig, Recipe
    from ilk.training.trainer import train
    from ilk.training.validation import Validation

    device_config = DeviceConfig.for_device(device)
    steps = count_updates(config, len(source))
    interval = max(1, steps // N_MEASURES)
    results: list[ValidationResult] = []

    def measure(network: nn.Module) -> float:
        logits = compute_logits(student, network, validation.pixels)
        if not np.isfinite(logits).all():
            return float("nan")
        probabilities = Calibration.fit(logits, validation.y).to_probabilities(logits)
        return -log_loss(validation.y, probabilities)

    lr = config.lr or (PRETRAINED_LR if student.start else LR)
    recipe = Recipe(
        steps,
        config.batch_size,
        lr,
        min(500, steps // 10),
        ema_width=EMA_WIDTH,
        seed=config.seed,
    )
    network = train(
        student.build(n_classes, config.seed),
        source,
        augment_objective(
            objective, make_normalization(student, device_config.device), *augmentations
        ),
        recipe,
        device_config,
        CheckpointConfig(state, interval=interval, progress=progress),
        Validation(measure, interval, config.patience, on_finish=results.append),
    )
    return network.cpu().eval(), results[0]


def compute_logits(student: Student, network: nn.Module, pixels: Pixels) -> Logits:
    """Return logits `[n, k]` float64 of images `[n, c, h, w]` uint8."""
    import torch

    from ilk.training.normalizer import Normalizer

    device = next(network.parameters()).device
    normalize = Normalizer(student.preprocess, student.channels).to(device)
    parts = []
    with torch.inference_mode():
        for start in range(0, len(pixels), BLOCK):
            x = torch.from_numpy(pixels[start : start + BLOCK]).to(device)
            parts.append(network(normalize(x)).float().cpu().numpy())
    return np.concatenate(parts).astype(np.float64)
