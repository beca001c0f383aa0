"""Data augmentation of a student: random changes of images that the teacher still recognizes.

The student is given the teacher's probabilities for the original image with every augmented copy of
it. (Function matching asks the teacher again about each copy: Lucas Beyer and others, 2022,
Knowledge Distillation: A Good Teacher Is Patient and Consistent, arXiv 2106.05237.) That is right
only for augmentations that preserve the class, so the accuracy of the teacher is measured on
augmented copies of some labelled images: where it falls, as for flipped digits, the augmentation is
not used.

Shifting, rotating and scaling keep a student from memorizing few images. One with several images
per weight cannot memorize them, and loses capacity to pictures that never come: its images are only
flipped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ilk.core.data import Labels
from ilk.core.metrics import Probabilities
from ilk.core.progress import Progress, silent_progress
from ilk.distillation.students import Student
from ilk.distillation.teachers import Teachers
from ilk.images import Images, Row

N_IMAGES = 200  # that each augmentation is tried on
TOLERANCE = 0.02  # by which the accuracy of the teacher may fall
SHIFT, DEGREES, SCALE = 0.07, 10.0, 1.1  # a fraction of the side; an angle; a factor
FLIP, ROTATE = "flipped", "rotated and scaled"
MANY = 2  # images per weight of the student, from which on they are only flipped


@dataclass(frozen=True)
class AugmentationTrial:
    """An augmentation that was tried on the teacher.

    Attributes:
        name: `flipped`, or `rotated and scaled`.
        accuracy: Accuracy of the teacher on the augmented images, in [0, 1].
        is_used: Whether the student is trained with it.
    """

    name: str
    accuracy: float
    is_used: bool


def make_augmentations(
    names: Sequence[str], student: Student, n_classes: int, n: int
) -> list[Callable[..., object]]:
    """Return the augmentations that a student is trained with.

    Args:
        names: Augmentations that the teacher recognizes.
        student: The student.
        n_classes: Number of classes.
        n: Number of training images.
    """
    from ilk.training.augmentations import Flip, RotateAndScale, Shift

    made: list[Callable[..., object]] = []
    is_moved = moves_images(student, n_classes, n)
    if is_moved:
        made.append(Shift(max(1, round(SHIFT * min(student.preprocess.size))), "edge"))
    if FLIP in names:
        made.append(Flip())
    if is_moved and ROTATE in names:
        made.append(RotateAndScale(DEGREES, SCALE, "edge"))
    return made


def moves_images(student: Student, n_classes: int, n: int) -> bool:
    """Whether images are also shifted and rotated: there are fewer than `MANY` per weight."""
    weights = sum(p.numel() for p in student.build(n_classes, 0).parameters())
    return n < MANY * weights


def try_augmentations(
    teachers: Teachers,
    images: Images,
    rows: Sequence[Row],
    y: Labels,
    seed: int,
    progress: Progress = silent_progress,
) -> list[AugmentationTrial]:
    """Return the accuracy of the teachers on up to 200 of the images under each augmentation.

    Args:
        teachers: The teachers, whose mean probability answers.
        images: Where the images are read from.
        rows: Labelled images.
        y: Their classes, `[n]`.
        seed: Seed of the draw of images and of their augmentation.
        progress: Reports the images.
    """
    rng = np.random.default_rng(seed)
    drawn = np.sort(rng.permutation(len(rows))[:N_IMAGES])
    right: dict[str, list[bool]] = {"": [], FLIP: [], ROTATE: []}
    size = min(encoder.batch_size for encoder in teachers.encoders)
    with progress("trying augmentations", len(drawn)) as advance:
        for start in range(0, len(drawn), size):
            block = drawn[start : start + size]
            pictures = [_decode(images, rows[i]) for i in block]
            for name in right:
                augmented = [
                    _augment(p, name, seed + int(i)) for i, p in zip(block, pictures, strict=True)
                ]
                right[name] += list(_answer(teachers, augmented).argmax(1) == y[block])
            advance(len(block))
    accuracies = {name: float(np.mean(values)) for name, values in right.items()}
    return [
        AugmentationTrial(name, accuracies[name], accuracies[name] >= accuracies[""] - TOLERANCE)
        for name in (FLIP, ROTATE)
    ]


def _answer(teachers: Teachers, pictures: Sequence[Image.Image]) -> Probabilities:
    """Return the mean probabilities of the teachers for RGB images, `[n, k]`."""
    answers = []
    for member in teachers.members:
        prepared = np.stack([member.encoder.prepare(picture) for picture in pictures])
        p = member.score_batch(member.encoder.embed(prepared)).probabilities
        answers.append(teachers.sort_classes(member, p))
    return teachers.mix(answers)


def _decode(images: Images, row: Row) -> Image.Image:
    from ilk.encode.encode_task import prepare_row
    from ilk.images import MAX_PIXELS

    prepared = prepare_row(images, row, [_WHOLE], MAX_PIXELS, summarize=False)  # type: ignore[list-item]
    return Image.fromarray(prepared.arrays[0])


class _Whole:
    """Takes an image as it is, `[h, w, 3]`."""

    def prepare(self, image: Image.Image) -> NDArray[np.uint8]:
        return np.asarray(image)


_WHOLE = _Whole()


def _augment(picture: Image.Image, name: str, seed: int) -> Image.Image:
    """Return a picture flipped, or rotated and scaled at random; "" leaves it as it is."""
    import torch

    from ilk.training.augmentations import RotateAndScale
    from ilk.training.batch import Batch

    if name == FLIP:
        return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if name != ROTATE:
        return picture
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]
    batch = Batch(pixels, torch.zeros(1, dtype=torch.int64))
    generator = torch.Generator().manual_seed(seed)
    rotated = RotateAndScale(DEGREES, SCALE, "edge")(batch, generator).x[0]
    return Image.fromarray(rotated.permute(1, 2, 0).numpy())
