"""Write the demo: the 1,797 digits of scikit-learn as PNG files, with planted faults.

The faults are listed in `planted.json`, so that tests and benchmarks can check whether they are
found.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ilk.core.atomic_write import write_atomically
from ilk.core.errors import OutputError

PLANTED_FILE, UNFINISHED_FILE = "planted.json", ".ilk.demo"
LEFTOVERS = re.compile(rf"\.{re.escape(UNFINISHED_FILE)}\..*\.part")
TEST_FRACTION = 0.3
MISLABELLED_FRACTION = 0.02
N_OUTLIERS = 30
LETTERS = "AEFHKMRWXZ"

PixelArray = NDArray[np.uint8]


@dataclass(frozen=True)
class PlantedFaults:
    """The planted faults, as paths relative to the folder of the digits.

    Attributes:
        mislabelled: Mislabelled training files, with their true class.
        unreadable: A truncated file, a text file with the suffix .png, and an empty file.
        leaked: Training files with the same content as a test file.
        conflicting: Two files with the same content and different labels.
        n_images: Number of intact images in both splits, without copies.
    """

    mislabelled: dict[str, str]
    unreadable: list[str]
    leaked: list[str]
    conflicting: list[str]
    n_images: int


def make_demo(folder: Path, seed: int = 0, *, faults: bool = True) -> PlantedFaults:
    """Write `folder/digits` (train and test) and `folder/not-digits`, replacing an older demo.

    Args:
        folder: Folder to write to.
        seed: Seed of the split and the faults.
        faults: Whether to plant faults.

    Returns:
        The planted faults.

    Raises:
        OutputError: The folder cannot be written, or contains other files.
    """
    try:
        _clear_folder(folder)
        planted = _write_digits(folder / "digits", seed, faults)
        _write_outliers(folder / "not-digits", np.random.default_rng(seed))
        text = json.dumps(asdict(planted), indent=1) + "\n"
        write_atomically(folder / PLANTED_FILE, text.encode())
        (folder / UNFINISHED_FILE).unlink()
    except OSError as error:
        raise OutputError(f"cannot write the demo to {folder}: {error.strerror}") from error
    return planted


def _clear_folder(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = [name for name in os.listdir(folder) if not LEFTOVERS.fullmatch(name)]
    if names and not {PLANTED_FILE, UNFINISHED_FILE} & set(names):
        raise OutputError(f"{folder} contains other files; choose an empty folder with --out")
    write_atomically(folder / UNFINISHED_FILE, b"")  # whatever happens, this is a demo's folder
    (folder / PLANTED_FILE).unlink(missing_ok=True)
    for part in ("digits", "not-digits", "kinds", "diffusion"):
        if (folder / part).exists():
            shutil.rmtree(folder / part)


def _write_digits(folder: Path, seed: int, faults: bool) -> PlantedFaults:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits, rng = load_digits(), np.random.default_rng(seed)
    pixels = np.round(digits.images * (255 / 16)).astype(np.uint8)
    train, test = train_test_split(
        np.arange(len(pixels)), test_size=TEST_FRACTION, random_state=seed, stratify=digits.target
    )
    fraction = MISLABELLED_FRACTION if faults else 0.0
    flipped = rng.choice(train, round(fraction * len(train)), replace=False)
    labels = digits.target.copy()
    labels[flipped] = (labels[flipped] + rng.integers(1, 10, len(flipped))) % 10
    for split, index in (("train", train), ("test", test)):
        for i in index:
            _write_image(folder / _format_path(split, labels[i], i), pixels[i])
    if not faults:
        return PlantedFaults({}, [], [], [], len(pixels))
    clean = rng.permutation(np.setdiff1d(train, flipped))
    return PlantedFaults(
        mislabelled={
            _format_path("train", labels[i], i): str(digits.target[i]) for i in flipped.tolist()
        },
        unreadable=_write_broken(folder / "train", pixels[clean[0]]),
        leaked=[
            _copy_to_split(folder, _format_path("test", labels[i], i), "train") for i in test[:5]
        ],
        conflicting=_write_conflict(folder, _format_path("train", labels[clean[1]], clean[1])),
        n_images=len(pixels),
    )


def _format_path(split: str, label: int, i: int) -> str:
    return f"{split}/{label}/{i:04d}.png"


def _write_image(path: Path, pixels: PixelArray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def _write_broken(train: Path, pixels: PixelArray) -> list[str]:
    _write_image(train / "0" / "truncated.png", pixels)
    content = (train / "0" / "truncated.png").read_bytes()
    (train / "0" / "truncated.png").write_bytes(content[: len(content) * 2 // 3])
    (train / "1" / "notes.png").write_text("remember to label these\n", encoding="utf-8")
    (train / "2" / "empty.png").write_bytes(b"")
    return ["train/0/truncated.png", "train/1/notes.png", "train/2/empty.png"]


def _copy_to_split(folder: Path, path: str, split: str) -> str:
    _, label, name = path.split("/")
    shutil.copyfile(folder / path, folder / split / label / f"copy-{name}")
    return f"{split}/{label}/copy-{name}"


def _write_conflict(folder: Path, path: str) -> list[str]:
    _, label, name = path.split("/")
    other = f"train/{(int(label) + 1) % 10}/again-{name}"
    shutil.copyfile(folder / path, folder / other)
    return [path, other]


def _write_outliers(folder: Path, rng: np.random.Generator) -> None:
    """Write 30 images of 8×8 pixels that are not digits: noise, stripes and letters."""
    for i in range(N_OUTLIERS // 3):
        _write_image(folder / f"noise-{i}.png", rng.integers(0, 256, (8, 8), np.uint8))
        _write_image(folder / f"stripes-{i}.png", _draw_stripes(i))
        letter = Image.new("L", (8, 8))
        ImageDraw.Draw(letter).text((1, -2), LETTERS[i], fill=255)
        _write_image(folder / f"letter-{LETTERS[i]}.png", np.asarray(letter))


def _draw_stripes(i: int) -> PixelArray:
    across, down = np.meshgrid(np.arange(8), np.arange(8))
    step = (across, down, across + down, across - down, across * down)[i % 5] + i // 5
    pattern: PixelArray = ((step % (2 + i // 5) == 0) * 255).astype(np.uint8)
    return pattern
