"""What a student is trained on: pixels, the answers of the teacher, and augmentation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.progress import Progress, silent_progress
from ilk.distillation.augmentation_choice import (
    AugmentationTrial,
    make_augmentations,
    moves_images,
    try_augmentations,
)
from ilk.distillation.config import DistillConfig
from ilk.distillation.parts import Parts
from ilk.distillation.pixels import Reader
from ilk.distillation.students import Student
from ilk.distillation.teacher import to_logits
from ilk.distillation.teachers import Teachers
from ilk.distillation.train import ValidationPart
from ilk.images import Images
from ilk.store import Store

if TYPE_CHECKING:
    from ilk.training.sources import Source


@dataclass(frozen=True, eq=False)
class TrainingData:
    """What a student is trained on.

    Attributes:
        student: The student.
        parts: Images by their use.
        source: Pixels and labels of the training images.
        validation: The validation part.
        augmentations: Random changes of the training images.
        teacher_logits: Log-probabilities of the teacher for the training images, `[n, k]`: of the
            mean of several, or of each where the loss takes them one by one.
        trials: Augmentations that were tried on the teacher.
        note: A sentence about the augmentation; may be "".
    """

    student: Student
    parts: Parts
    source: Source
    validation: ValidationPart
    augmentations: list[Any]
    teacher_logits: tuple[NDArray[np.float32], ...]
    trials: tuple[AugmentationTrial, ...]
    note: str = ""


def prepare_training_data(
    teachers: Teachers,
    images: Images,
    student: Student,
    parts: Parts,
    config: DistillConfig,
    store: Store,
    progress: Progress = silent_progress,
    *,
    takes_sources: bool = False,
) -> TrainingData:
    """Read a student's images, and compute what the teachers say of them.

    Args:
        teachers: The teachers.
        images: Where the images are read from.
        student: What they are read for.
        parts: Images by their use.
        config: Settings.
        store: Features of the teachers' encoders.
        progress: Reports the images that are read.
        takes_sources: Whether the loss takes the teachers one by one.
    """
    reader = Reader(images, student)
    y = parts.encode_labels(parts.validation)
    trials: list[AugmentationTrial] = []
    augmentations: list[Any] = []
    note = ""
    if config.augment == "auto":
        trials = try_augmentations(teachers, images, parts.validation, y, config.seed, progress)
        names = [trial.name for trial in trials if trial.is_used]
        n_classes, n = len(teachers.classes), len(parts.train)
        augmentations = make_augmentations(names, student, n_classes, n)
        if not moves_images(student, n_classes, n):
            note = (
                f"{n:,} images are many for the number of parameters of {student.name}, so it was "
                "trained on images that are neither shifted nor rotated"
            )
    answers = teachers.answer(parts.train, store)
    if not takes_sources:
        answers = [teachers.mix(answers)]
    return TrainingData(
        student,
        parts,
        reader.open_source(parts.train, parts.encode_labels(parts.train), progress),
        ValidationPart(reader.read_all(parts.validation), y),
        augmentations,
        tuple(to_logits(p) for p in answers),
        tuple(trials),
        note,
    )


def keep_labelled(data: TrainingData) -> TrainingData:
    """Return the training data without unlabelled images."""
    import torch

    from ilk.training.batch import Batch
    from ilk.training.samplers import Sampler
    from ilk.training.sources import SampledSource

    y = data.parts.encode_labels(data.parts.train)
    if (y >= 0).all():
        return data
    rows = torch.from_numpy(np.flatnonzero(y >= 0))
    if isinstance(data.source, Batch):
        return replace(data, source=data.source.select(rows))

    class Labelled(Sampler):
        def draw(self, step: int, batch_size: int, seed: int) -> torch.Tensor:
            from ilk.training.rng import draw_batch_rows

            return rows[draw_batch_rows(step, batch_size, len(rows), seed)]

    return replace(data, source=SampledSource(data.source, Labelled()))
