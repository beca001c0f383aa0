"""Settings of a distillation."""

from __future__ import annotations

from dataclasses import dataclass

from ilk.core.errors import InputError

MAX_SIDE = 1024  # pixels
CHANGES = ("auto", "none")


@dataclass(frozen=True)
class DistillConfig:
    """Settings of `distill`.

    Attributes:
        student: Name of the student, such as `cnn-100k`.
        loss: Loss with settings, such as `KD(temperature=4)`.
        size: Side of the student's images in pixels; 0 takes that of the images, up to 96, or for
            a pretrained student that of its training.
        updates: Updates of the weights; 0 takes 30 rounds over the images, at least 1,000 and at
            most 30,000.
        batch_size: Images per update, >= 1.
        lr: Highest learning rate; 0 takes 0.01, or 0.001 for a pretrained student.
        hold_out: Part of the labelled images that the student is not trained on, in (0, 0.5]: half
            of it chooses the state of the network, half calibrates the answers.
        changes: `auto` trains on shifted, turned, scaled and mirrored images, as far as the teacher
            recognizes them, and with 2 images or more for each weight of the student on mirrored
            ones alone; `none` on the images as they are.
        patience: Measures of the validation part without gain after which training ends, >= 1.
        compare_labels: Train the same student on the labels alone, too.
        coverage: Coverage of the sets, in (0, 1).
        false_alarm: Rate at which known images are flagged as unknown, in (0, 1).
        seed: Seed.

    Raises:
        InputError: A setting is out of range.
    """

    student: str = "cnn-100k"
    loss: str = "KD"
    size: int = 0
    updates: int = 0
    batch_size: int = 64
    lr: float = 0.0
    hold_out: float = 0.2
    changes: str = "auto"
    patience: int = 15
    compare_labels: bool = False
    coverage: float = 0.9
    false_alarm: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.size <= MAX_SIDE:
            raise InputError(f"size is {self.size} pixels; it must be at most {MAX_SIDE}")
        if self.updates < 0 or self.batch_size < 1 or self.patience < 1 or self.lr < 0:
            raise InputError(
                f"updates {self.updates} and lr {self.lr} must be at least 0, batch_size "
                f"{self.batch_size} and patience {self.patience} at least 1"
            )
        if not 0 < self.hold_out <= 0.5:
            raise InputError(
                f"hold_out (--hold-out) is {self.hold_out}; it must be above 0 and at most 0.5"
            )
        if self.changes not in CHANGES:
            raise InputError(f"changes is {self.changes!r}; write one of {', '.join(CHANGES)}")
