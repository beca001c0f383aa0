"""The student: its network by name, the size of its images, and how they become its input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ilk.core.errors import UnknownName
from ilk.distillation.config import DistillConfig
from ilk.encoders.tuned_network import list_students
from ilk.hub.preprocessing import Preprocess
from ilk.images import Row
from ilk.images.pixels import GREY_MODES

if TYPE_CHECKING:
    from torch import nn

MAX_AUTO_SIDE, MIN_AUTO_SIDE = 96, 8
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
LR, PRETRAINED_LR = 1e-2, 1e-3


@dataclass(frozen=True)
class Student:
    """What a student is, without its weights.

    Attributes:
        name: Its name, such as `cnn-15k`.
        channels: 1 for grey images, 3 for colour.
        preprocess: How images become its input.
        start: Encoder whose pretrained weights it starts from; "" for random ones.
    """

    name: str
    channels: int
    preprocess: Preprocess
    start: str = ""

    @property
    def settings(self) -> dict[str, Any]:
        """What its architecture is built with, beside its name; plain values."""
        return {"channels": self.channels, "size": list(self.preprocess.size)}

    def build(self, n_classes: int, seed: int) -> nn.Module:
        """Return the network with a head, in float32 on the CPU, ready to be trained.

        Raises:
            InputError: Its images are smaller than the network takes.
            Unavailable: The pretrained weights are not installed.
        """
        make = import_module(list_students()[self.name]).make_student
        network = cast("nn.Module", make(self.name, n_classes, seed=seed, **self.settings))
        if self.start:
            from ilk.encoders.registry import resolve_encoder

            encoder: Any = resolve_encoder(self.start)
            state = encoder.checkpoint.build_network().state_dict()
            weights = {k: v for k, v in state.items() if not k.startswith("fc.")}
            network.load_state_dict(weights, strict=False)
        return network


def open_student(config: DistillConfig, rows: Sequence[Row]) -> Student:
    """Return the student that the settings name, fitted to the size of the images.

    Args:
        config: Settings.
        rows: The images.

    Raises:
        UnknownName: There is no such student.
        InputError: Its images are smaller than the network takes.
    """
    modules = list_students()
    if config.student not in modules:
        raise UnknownName("student", config.student, tuple(modules))
    start = str(getattr(import_module(modules[config.student]), "START", ""))
    if start:
        from ilk.encoders.registry import resolve_encoder

        encoder: Any = resolve_encoder(start)
        preprocess: Preprocess = encoder.preprocess
        if config.image_size:
            preprocess = _resize(preprocess, config.image_size)
        return _check(Student(config.student, 3, preprocess, start))
    known = [row for row in rows if row.width and row.height]
    side = config.image_size or _choose_side(known)
    is_grey = bool(known) and all(row.mode in GREY_MODES for row in known)
    sides = (side, side)
    preprocess = Preprocess(sides, sides, "squash", "bilinear", MEAN, STD)
    return _check(Student(config.student, 1 if is_grey else 3, preprocess))


def _check(student: Student) -> Student:
    """Return a student whose network takes images of its size; raises InputError otherwise."""
    make = import_module(list_students()[student.name]).make_student
    make(student.name, 2, **student.settings)
    return student


def _choose_side(rows: Sequence[Row]) -> int:
    """Return the median shorter side of the images in pixels, up to 96."""
    if not rows:
        return MAX_AUTO_SIDE
    median = int(np.median([min(row.width, row.height) for row in rows]))
    return min(MAX_AUTO_SIDE, median)


def _resize(preprocess: Preprocess, side: int) -> Preprocess:
    """Return a preprocessing to squares of `side` pixels, with the same margin."""

    scale = [
        round(side * s / old) for s, old in zip(preprocess.scale, preprocess.size, strict=True)
    ]
    return replace(preprocess, size=(side, side), scale=(scale[0], scale[1]))
