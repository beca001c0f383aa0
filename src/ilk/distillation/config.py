"""Settings of a distillation."""

from __future__ import annotations

from dataclasses import dataclass

from ilk.core.errors import InputError

MAX_SIDE = 1024  # pixels
AUGMENT = ("auto", "none")


@dataclass(frozen=True)
class DistillConfig:
    """Settings of `distill`.

    Attributes:
        student: Name of the student, such as `cnn-100k`.
        loss: Loss with settings, such as `KD(temperature=4)`.
        image_size: Height and width of the student's images in pixels; 0 takes that of the images,
            up to 96, or for a pretrained student that of its training.
        updates: Optimizer updates, at most; 0 takes 30 epochs, at least 1,000 and at most 30,000.
        batch_size: Images per update, >= 1.
        lr: Highest learning rate; 0 takes 0.01, or 0.001 for a pretrained student.
        hold_out: Fraction of the labelled images that is not trained on, in (0, 0.5]: half of them
            are the validation part, half calibrate the probabilities.
        augment: `auto` shifts images at random, and flips, rotates and scales them if the teacher
            still recognizes them; with 2 images or more per weight of the student it only flips
            them. `none` trains on the images as they are.
        patience: Measures on the validation part without a gain after which training ends, >= 1.
        compare_labels: Train the same student on the labels alone too.
        coverage: Coverage of the sets, in (0, 1).
        false_alarm: Rate at which known images are flagged as unknown, in (0, 1).
        seed: Seed.

    Raises:
        InputError: A setting is out of range.
    """

    student: str = "cnn-100k"
    loss: str = "KD"
    image_size: int = 0
    updates: int = 0
    batch_size: int = 64
    lr: float = 0.0
    hold_out: float = 0.2
    augment: str = "auto"
    patience: int = 15
    compare_labels: bool = False
    coverage: float = 0.9
    false_alarm: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.image_size <= MAX_SIDE:
            raise InputError(
                f"image_size (--image-size) is {self.image_size} pixels; it must be at most "
                f"{MAX_SIDE}"
            )
        if self.updates < 0 or self.batch_size < 1 or self.patience < 1 or self.lr < 0:
            raise InputError(
                f"updates {self.updates} and lr {self.lr} must be at least 0, batch_size "
                f"{self.batch_size} and patience {self.patience} at least 1"
            )
        if not 0 < self.hold_out <= 0.5:
            raise InputError(
                f"hold_out (--hold-out) is {self.hold_out}; it must be above 0 and at most 0.5"
            )
        if self.augment not in AUGMENT:
            raise InputError(
                f"augment (--augment) is {self.augment!r}; give one of {', '.join(AUGMENT)}"
            )
