"""The demo's folder: scikit-learn's 1,797 digits as PNG files, with real-life trouble planted.

What was planted is written down in `planted.json`, so that a test and a benchmark can see whether
it was found.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ilk.errors import OutputError

TEST_SHARE = 0.3
WRONG_SHARE = 0.02
STRANGERS = 30
LETTERS = "AEFHKMRWXZ"

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Planted:
    """The trouble, as paths relative to the digits' folder.

    Attributes:
        wrong: Wrongly labelled train files, and their true class.
        unreadable: A truncated file, a text file called .png, an empty file.
        across: Train files that are also in test.
        conflict: One image under two labels.
        images: How many PNG files are good and were written in all (train and test).
    """

    wrong: dict[str, str]
    unreadable: list[str]
    across: list[str]
    conflict: list[str]
    images: int


def make(folder: Path, seed: int = 0, *, trouble: bool = True) -> Planted:
    """Write `folder/digits` (train, test) and `folder/not-digits`; an older demo is replaced.

    Args:
        folder: Where to write.
        seed: Of the split and of the trouble.
        trouble: Plant some; without, the digits are as scikit-learn has them.

    Raises:
        OutputError: The folder cannot be written or holds something else.
    """
    try:
        _clear(folder)
        planted = _digits(folder / "digits", seed, trouble)
        _strangers(folder / "not-digits", np.random.default_rng(seed))
        text = json.dumps(asdict(planted), indent=1)
        (folder / "planted.json").write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write the demo to {folder}: {error.strerror}") from error
    return planted


def _clear(folder: Path) -> None:
    if folder.exists() and any(folder.iterdir()) and not (folder / "planted.json").exists():
        raise OutputError(f"{folder} holds other files; name an empty folder with --out")
    for part in ("digits", "not-digits", "kinds", "diffusion"):
        shutil.rmtree(folder / part, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)


def _digits(home: Path, seed: int, trouble: bool) -> Planted:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits, rng = load_digits(), np.random.default_rng(seed)
    pixels = np.round(digits.images * (255 / 16)).astype(np.uint8)
    train, test = train_test_split(
        np.arange(len(pixels)), test_size=TEST_SHARE, random_state=seed, stratify=digits.target
    )
    share = WRONG_SHARE if trouble else 0.0
    flipped = rng.choice(train, round(share * len(train)), replace=False)
    shown = digits.target.copy()
    shown[flipped] = (shown[flipped] + rng.integers(1, 10, len(flipped))) % 10
    for split, index in (("train", train), ("test", test)):
        for i in index:
            _write(home / _place(split, shown[i], i), pixels[i])
    if not trouble:
        return Planted({}, [], [], [], len(pixels))
    clean = rng.permutation(np.setdiff1d(train, flipped))
    return Planted(
        wrong={_place("train", shown[i], i): str(digits.target[i]) for i in flipped.tolist()},
        unreadable=_broken(home / "train", pixels[clean[0]]),
        across=[_copy(home, _place("test", shown[i], i), "train") for i in test[:5]],
        conflict=_conflict(home, _place("train", shown[clean[1]], clean[1])),
        images=len(pixels),
    )


def _place(split: str, label: int, i: int) -> str:
    return f"{split}/{label}/{i:04d}.png"


def _write(path: Path, pixels: Pixels) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def _broken(train: Path, pixels: Pixels) -> list[str]:
    _write(train / "0" / "truncated.png", pixels)
    whole = (train / "0" / "truncated.png").read_bytes()
    (train / "0" / "truncated.png").write_bytes(whole[: len(whole) * 2 // 3])
    (train / "1" / "notes.png").write_text("remember to label these\n", encoding="utf-8")
    (train / "2" / "empty.png").write_bytes(b"")
    return ["train/0/truncated.png", "train/1/notes.png", "train/2/empty.png"]


def _copy(home: Path, path: str, split: str) -> str:
    _, label, name = path.split("/")
    shutil.copyfile(home / path, home / split / label / f"copy-{name}")
    return f"{split}/{label}/copy-{name}"


def _conflict(home: Path, path: str) -> list[str]:
    _, label, name = path.split("/")
    other = f"train/{(int(label) + 1) % 10}/again-{name}"
    shutil.copyfile(home / path, home / other)
    return [path, other]


def _strangers(home: Path, rng: np.random.Generator) -> None:
    """Thirty 8×8 pictures that are no digits: noise, stripes and letters."""
    for i in range(STRANGERS // 3):
        _write(home / f"noise-{i}.png", rng.integers(0, 256, (8, 8), np.uint8))
        _write(home / f"stripes-{i}.png", _stripes(i))
        letter = Image.new("L", (8, 8))
        ImageDraw.Draw(letter).text((1, -2), LETTERS[i], fill=255)
        _write(home / f"letter-{LETTERS[i]}.png", np.asarray(letter))


def _stripes(i: int) -> Pixels:
    across, down = np.meshgrid(np.arange(8), np.arange(8))
    step = (across, down, across + down, across - down, across * down)[i % 5] + i // 5
    lit: Pixels = ((step % (2 + i // 5) == 0) * 255).astype(np.uint8)
    return lit
