"""Digits and clothes as a student takes them, and a teacher that is a saved classifier."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.datasets import read_fashion, read_mnist
from benchmarks.diffusion_setup import get_cache_dir
from ilk.artifacts.classifier import Classifier
from ilk.core.data import Data, Labels
from ilk.core.metrics import Probabilities
from ilk.distillation.assemble import assemble_classifier, make_encoder, make_head
from ilk.distillation.augmentation_choice import FLIP, ROTATE, make_augmentations
from ilk.distillation.config import DistillConfig
from ilk.distillation.parts import Parts
from ilk.distillation.pixels import Pixels
from ilk.distillation.students import MEAN, STD, Student
from ilk.distillation.teacher import load_teacher
from ilk.distillation.train import ValidationPart, train_student
from ilk.hub.preprocessing import Preprocess
from ilk.images import Row
from ilk.store import Store
from ilk.training.augmentations import Flip
from ilk.training.batch import Batch
from ilk.training.objective import Objective
from ilk.training.objectives.cross_entropy import CrossEntropy

SIDE = 28
TEACHER, STUDENT = "cnn-100k", "cnn-15k"
N_VALIDATION, N_CALIBRATION = 1000, 1000
READERS = {"mnist": read_mnist, "fashion": read_fashion}
# What a teacher recognizes, as `ilk distill` measures (`ilk.distillation.augmentation_choice`).
CHANGES = {"mnist": (ROTATE,), "fashion": (FLIP,)}
# In the few epochs that a teacher gets here, shifted clothes cost it accuracy as well.
TEACHER_CHANGES = {"fashion": (Flip(),)}
BLOCK = 2000


@dataclass(frozen=True, eq=False)
class ImageSet:
    """The parts of a data set, as `[n, 1, 28, 28]` uint8 with labels `[n]`."""

    name: str
    train: tuple[Pixels, Labels]
    validation: tuple[Pixels, Labels]
    calibration: tuple[Pixels, Labels]
    test: tuple[Pixels, Labels]


def read_set(name: str, small: bool = False) -> ImageSet:
    """Read a data set: all training images that are there, and the official test images."""
    x, y = _to_pixels(READERS[name]("train"))
    x_test, y_test = _to_pixels(READERS[name]("test"))
    order = np.random.default_rng(0).permutation(len(y))
    n_test = len(y_test)
    ends = (N_VALIDATION, N_VALIDATION + N_CALIBRATION)
    if small:
        order, n_test, ends = order[:400], 100, (50, 150)
    rows = order[: ends[0]], order[ends[0] : ends[1]], order[ends[1] :]
    validation, calibration, train = ((x[r], y[r]) for r in rows)
    test_rows = np.random.default_rng(1).permutation(len(y_test))[:n_test]
    return ImageSet(name, train, validation, calibration, (x_test[test_rows], y_test[test_rows]))


def _to_pixels(data: Data) -> tuple[Pixels, Labels]:
    pixels = np.rint(data.x * 255).astype(np.uint8).reshape(-1, 1, SIDE, SIDE)
    return pixels, np.asarray(data.y, np.int64)


def open_student(name: str) -> Student:
    """Return a student of grey images, as `ilk distill` makes it for these."""
    size = (SIDE, SIDE)
    return Student(name, 1, Preprocess(size, size, "squash", "bilinear", MEAN, STD))


def train_network(
    images: ImageSet,
    student: Student,
    objective: Objective,
    updates: int,
    seed: int,
    augmentations: Sequence[Any] | None = None,
) -> torch.nn.Module:
    """Train a network on all training images, with the changes that `ilk distill` chooses.

    `augmentations` are taken in their stead.
    """
    x, y = images.train
    if augmentations is None:
        augmentations = make_augmentations(CHANGES[images.name], student, 10, len(y))
    network, _ = train_student(
        student,
        10,
        Batch(torch.from_numpy(x), torch.from_numpy(y)),
        objective,
        augmentations,
        ValidationPart(*images.validation),
        DistillConfig(student.name, updates=updates, seed=seed),
        device="cpu",
    )
    return network


def open_teacher(images: ImageSet, updates: int, small: bool) -> Classifier:
    """Return the teacher: trained on the labels, calibrated, saved and loaded as a model folder."""
    folder = get_cache_dir() / "distill" / f"{images.name}-{TEACHER}-{updates}{'-small' * small}"
    if not (folder / "model.json").exists():
        student = open_student(TEACHER)
        changes = TEACHER_CHANGES.get(images.name)
        network = train_network(images, student, CrossEntropy(), updates, 100, changes)
        _assemble(images, student, network, folder).save(folder)
    return load_teacher(folder, device="cpu", runtime="torch")


def _assemble(
    images: ImageSet, student: Student, network: torch.nn.Module, folder: Path
) -> Classifier:
    """Return a trained network as a classifier, by the code of `ilk distill`."""
    pixels = {"train": images.train, "calibration": images.calibration}
    rows = {name: _make_rows(*p) for name, p in pixels.items()}
    classes = tuple(map(str, range(10)))
    parts = Parts(rows["train"], (), rows["calibration"], (), classes)
    encoder = make_encoder(student, network, parts, folder, {}, device="cpu", runtime="torch")
    store = Store(folder.parent / f"{folder.name}.sqlite")
    for name, (x, _) in pixels.items():
        digests = [row.digest for row in rows[name]]
        for start in range(0, len(x), BLOCK):
            stop = start + BLOCK
            store.put(encoder.space, digests[start:stop], encoder.embed(to_rgb(x[start:stop])))
    config = DistillConfig(student.name)
    return assemble_classifier(encoder, make_head(network), parts, config, store)[0]


def _make_rows(x: Pixels, y: Labels) -> tuple[Row, ...]:
    return tuple(
        Row(
            f"{i}.png",
            label=str(c),
            digest=hashlib.sha256(p.tobytes() + bytes([i % 251])).hexdigest(),
        )
        for i, (p, c) in enumerate(zip(x, y, strict=True))
    )


def to_rgb(x: Pixels) -> Pixels:
    """Return grey images `[n, 1, h, w]` as an encoder takes them, `[n, 3, h, w]`."""
    return np.repeat(x, 3, 1)


def ask(classifier: Classifier, x: Pixels) -> Probabilities:
    """Return the probabilities of a classifier for images, `[n, k]`."""
    parts = [
        classifier.score_batch(classifier.encoder.embed(to_rgb(x[i : i + BLOCK]))).probabilities
        for i in range(0, len(x), BLOCK)
    ]
    return np.concatenate(parts)


def measure_accuracy(answers: NDArray[Any], y: Labels) -> float:
    """Return the part of answers `[n, k]` whose greatest entry is that of the class."""
    return float(np.mean(answers.argmax(1) == y))
