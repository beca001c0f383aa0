"""Which random changes of images a student is trained with: those that the teacher recognizes.

The student gets the teacher's answer to the image as it is for every changed copy of it ("function
matching" with a consistent view would ask the teacher again each time: Lucas Beyer and others,
2022, Knowledge Distillation: A Good Teacher Is Patient and Consistent, arXiv 2106.05237). That is
right only for changes that leave the answer, so the teacher is asked about changed copies of some
labelled images: where its accuracy falls, as for mirrored digits, the change is left out.

Moved images (shifted, turned, scaled) are for students that would learn few images by heart. One
with several images for each weight cannot, and spends weights on pictures that never come: there
the objects are left where they are, and images are only mirrored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ilk.artifacts.classifier import Classifier
from ilk.core.data import Labels
from ilk.core.progress import Progress, silent_progress
from ilk.distillation.students import Student
from ilk.images import Images, Row

N_ASKED = 200  # images of each change
TOLERANCE = 0.02  # by which the accuracy of the teacher may fall
SHIFT, DEGREES, SCALE = 0.07, 10.0, 1.1  # a part of the side; an angle; a factor
FLIP, TURN = "mirrored", "turned"
MANY = 2  # images for each weight of the student, from which on none is moved


@dataclass(frozen=True)
class Change:
    """A change that the teacher was asked about.

    Attributes:
        name: What the images are, such as `mirrored`.
        accuracy: Accuracy of the teacher on the changed images, in [0, 1].
        is_used: Whether the student is trained with it.
    """

    name: str
    accuracy: float
    is_used: bool


def make_augmentations(
    names: Sequence[str], student: Student, n_classes: int, n: int
) -> list[Callable[..., object]]:
    """Return the random changes that a student is trained with.

    Args:
        names: Changes that the teacher recognizes.
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
    if is_moved and TURN in names:
        made.append(RotateAndScale(DEGREES, SCALE, "edge"))
    return made


def moves_images(student: Student, n_classes: int, n: int) -> bool:
    """Whether a student is trained on moved images: it has fewer than 2 images for each weight."""
    weights = sum(p.numel() for p in student.build(n_classes, 0).parameters())
    return n < MANY * weights


def choose_changes(
    teacher: Classifier,
    images: Images,
    rows: Sequence[Row],
    y: Labels,
    seed: int,
    progress: Progress = silent_progress,
) -> list[Change]:
    """Return the changes that the teacher was asked about, on up to 200 of the images.

    Args:
        teacher: The teacher.
        images: Where the images are read from.
        rows: Labelled images.
        y: Their classes, `[n]`.
        seed: Seed of the draw of images and of the changes.
        progress: Reports the images that were asked about.
    """
    rng = np.random.default_rng(seed)
    asked = np.sort(rng.permutation(len(rows))[:N_ASKED])
    right: dict[str, list[bool]] = {"": [], FLIP: [], TURN: []}
    with progress("asking about changed images", len(asked)) as advance:
        for start in range(0, len(asked), teacher.encoder.batch_size):
            block = asked[start : start + teacher.encoder.batch_size]
            pictures = [_decode(images, rows[i]) for i in block]
            for name in right:
                changed = [
                    _change(p, name, seed + int(i)) for i, p in zip(block, pictures, strict=True)
                ]
                prepared = np.stack([teacher.encoder.prepare(p) for p in changed])
                p = teacher.score_batch(teacher.encoder.embed(prepared)).probabilities
                right[name] += list(p.argmax(1) == y[block])
            advance(len(block))
    accuracies = {name: float(np.mean(values)) for name, values in right.items()}
    return [
        Change(name, accuracies[name], accuracies[name] >= accuracies[""] - TOLERANCE)
        for name in (FLIP, TURN)
    ]


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


def _change(picture: Image.Image, name: str, seed: int) -> Image.Image:
    """Return a picture changed by the greatest amount that the student will see."""
    import torch

    from ilk.training.augmentations import RotateAndScale
    from ilk.training.batch import Batch

    if name == FLIP:
        return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if name != TURN:
        return picture
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]
    batch = Batch(pixels, torch.zeros(1, dtype=torch.int64))
    generator = torch.Generator().manual_seed(seed)
    turned = RotateAndScale(DEGREES, SCALE, "edge")(batch, generator).x[0]
    return Image.fromarray(turned.permute(1, 2, 0).numpy())
