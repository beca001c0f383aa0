"""Encoders of a fit are resolved once, and images are encoded once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.digit_folders import write_digits
from ilk.core.errors import InputError
from ilk.fitting import encoding, fit
from ilk.fitting.config import FitConfig
from ilk.fitting.encoding import load_features
from ilk.fitting.split import split_images
from ilk.images import read_images
from ilk.images.pixels import PixelEncoder
from ilk.store import Store


class OtherClasses(PixelEncoder):
    """An encoder whose class scores are for other classes than those of the split."""

    classes = ("a1", "b2", "c3")

    def is_held_out(self, digests: Any) -> Any:
        return np.ones(len(digests), bool)


def test_images_are_split_and_encoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, calls = write_digits(tmp_path / "d", {"a1": 6, "b2": 6}), []

    def count(module: Any, name: str) -> None:
        function = getattr(module, name)

        def call(*args: Any, **options: Any) -> Any:
            calls.append(name)
            return function(*args, **options)

        monkeypatch.setattr(module, name, call)

    count(encoding, "encode_and_refuse")
    count(fit, "split_images")
    config = FitConfig(encoders=("pixels", "hog"), methods=("GDA",))
    fit.fit(read_images(home, verify=False), config, store=Store(tmp_path / "store.sqlite"))
    assert calls == ["encode_and_refuse", "split_images"]


def test_scores_of_other_classes_are_refused(tmp_path: Path) -> None:
    home = write_digits(tmp_path / "d", {"a1": 3, "b2": 3})
    split = split_images(read_images(home), FitConfig())
    with pytest.raises(InputError, match="files changed while they were encoded"):
        load_features(OtherClasses(), split, FitConfig(), Store(tmp_path / "store.sqlite"))
