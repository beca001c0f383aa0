"""Training folders, and held images in the many forms in which users have them."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.shared_files import iterate_archive

ARCHIVES = {
    "CIFAR-10": ("cifar10_jpeg", "cifar10_jpeg.tar.gz"),
    "PACS": ("pacs_subset", "pacs_subset.tar.gz"),
}
ORIENTATION = 0x0112
FORMS = ("as it is", "odd size", "grey", "transparent", "turned by EXIF", "large", "1:8", "palette")


@dataclass(frozen=True)
class Folders:
    """A data set on disk.

    Attributes:
        train: Folder with a sub-folder per class.
        held: The same for images that nothing was fitted to, in all `FORMS`.
    """

    train: Path
    held: Path


def write_folders(
    name: str, home: Path, n_train: int, n_held: int, forms: Sequence[str] = FORMS
) -> Folders:
    """Write `n_train` and `n_held` images per class below a folder, the held ones in `forms`."""
    folders = Folders(home / "train", home / "held")
    train, held = _split(name, n_train, n_held)
    for number, (label, stem, raw) in enumerate(train):
        path = folders.train / label / f"{number:05d}_{stem}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw)
    rng = np.random.default_rng(0)
    for number, (label, stem, raw) in enumerate(held):
        form = forms[number % len(forms)]
        content, suffix = change_form(raw, form, rng)
        path = folders.held / label / f"{number:05d}_{stem}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folders


def _split(
    name: str, n_train: int, n_held: int
) -> tuple[list[tuple[str, str, bytes]], list[tuple[str, str, bytes]]]:
    """Return training and held images as label, stem and bytes."""
    files: dict[str, list[tuple[str, bytes]]] = defaultdict(list)
    held_files: dict[str, list[tuple[str, bytes]]] = defaultdict(list)
    for path, raw in iterate_archive(*ARCHIVES[name]):
        parts = Path(path).parts
        if not path.endswith((".jpg", ".jpeg", ".png")):
            continue
        target = held_files if parts[0] == "test" else files
        target[parts[-2]].append((f"{parts[0]}_{Path(path).stem}", raw))
    if name == "PACS":  # every other file, so that both parts have all styles
        halves = [{label: rows[part::2] for label, rows in files.items()} for part in (0, 1)]
        return _take(halves[0], n_train), _take(halves[1], n_held)
    return _take(files, n_train), _take(held_files, n_held)


def _take(files: dict[str, list[tuple[str, bytes]]], n: int) -> list[tuple[str, str, bytes]]:
    rows = []
    for label, found in sorted(files.items()):
        step = max(1, len(found) // n)
        rows += [(label, stem, raw) for stem, raw in found[::step][:n]]
    return rows


def change_form(raw: bytes, form: str, rng: np.random.Generator) -> tuple[bytes, str]:
    """Return an image file in another form, and its suffix."""
    if form == "as it is":
        return raw, ".jpg"
    image = Image.open(io.BytesIO(raw)).convert("RGB")
    if form == "grey":
        return _encode(image.convert("L"), "JPEG"), ".jpg"
    if form == "transparent":
        alpha = np.linspace(0, 255, image.width * image.height).reshape(image.height, -1)
        image.putalpha(Image.fromarray(alpha.astype(np.uint8)))
        return _encode(image, "PNG"), ".png"
    if form == "palette":
        return _encode(image.quantize(64), "PNG"), ".png"
    if form == "turned by EXIF":
        exif = Image.Exif()
        exif[ORIENTATION] = int(rng.integers(2, 9))
        return _encode(image, "JPEG", exif=exif), ".jpg"
    sizes: dict[str, tuple[int, int]] = {
        "odd size": (int(rng.integers(17, 640)), int(rng.integers(17, 640))),
        "large": (1501, 999),
        "1:8": (61, 488),
    }
    return _encode(image.resize(sizes[form]), "JPEG"), ".jpg"


def _encode(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    if kind == "JPEG":
        image.save(buffer, kind, quality=92, **options)
    else:
        image.save(buffer, kind, **options)
    return buffer.getvalue()


def list_files(folder: Path) -> list[Path]:
    """Return the files of a folder of classes, sorted."""
    return sorted(path for path in folder.glob("*/*") if path.is_file())


def spread(items: Sequence[Path], n: int) -> list[Path]:
    """Return `n` of the items, evenly."""
    index = np.unique(np.linspace(0, len(items) - 1, n).round().astype(int))
    return [items[i] for i in index]


def count_forms(paths: Iterable[Path]) -> dict[str, int]:
    """Return how many of the held files have each form."""
    numbers = [int(path.name[:5]) % len(FORMS) for path in paths]
    return {form: numbers.count(i) for i, form in enumerate(FORMS)}
