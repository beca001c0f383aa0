"""A teacher of real digits, and a student that it taught."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

import ilk
from helpers.digit_folders import write_digits
from ilk.distillation.config import DistillConfig
from ilk.distillation.distill import Distillation, distill
from ilk.distillation.teacher import load_teacher
from ilk.store import Store

CLASSES = ("0", "1", "2", "7")


@dataclass(frozen=True)
class Home:
    """`digits` to learn from, `new` ones, and the model folders `kinds` and `small`."""

    folder: Path
    result: Distillation

    @property
    def store(self) -> Store:
        return Store(self.folder / "store.sqlite")


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    folder = tmp_path_factory.mktemp("distillation")
    write_digits(folder / "digits", dict.fromkeys(CLASSES, 90))
    write_digits(folder / "new", dict.fromkeys(CLASSES, 30), seed=1)
    store = Store(folder / "store.sqlite")
    images = ilk.read(str(folder / "digits"))
    fitted = ilk.fit(images, store=store, encoders=("pixels/8x8x1",), methods=("KNearest",))
    fitted.save(folder / "kinds")
    teacher = load_teacher(folder / "kinds")
    config = DistillConfig("cnn-15k", updates=60, compare_labels=True)
    result = distill(teacher, images, folder / "small", config, store=store, device="cpu")
    result.classifier.save(folder / "small")
    return Home(folder, result)
