"""Images on which an exported file is compared with the model: the user's, or the model's own."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ilk.artifacts.classifier import Classifier
from ilk.artifacts.image_blocks import encode_block
from ilk.core.data import Features, Labels
from ilk.core.errors import ArtifactError, InputError, NoImages
from ilk.core.progress import Progress, silent_progress
from ilk.core.regular_file import read_regular_file
from ilk.images import Images, Row, adopt_spellings, decode, inspect_inputs
from ilk.images.inspection.contents import decode_content
from ilk.store import Store
from ilk.updates.side_files import INTAKE, read_trained_rows

DEFAULT_LIMIT = 500


@dataclass(frozen=True, eq=False)
class CheckImages:
    """Images with the features that the model's own encoder gives.

    Attributes:
        images: Where their content is found.
        rows: The images that could be decoded, `n` of them.
        x: Features, `[n, d]`.
        y: Classes, `[n]`; -1 where the label is not known or no class of the model.
        is_trained_on: Which of them the model was fitted to, `[n]`.
        origin: What they are, for people.
    """

    images: Images
    rows: tuple[Row, ...]
    x: Features
    y: Labels
    is_trained_on: NDArray[np.bool_]
    origin: str

    def decode(self, index: int) -> NDArray[np.uint8]:
        """Return the pixels of an image, `[h, w, 3]`, upright RGB."""
        row = self.rows[index]
        content = self.images.contents.get(row.digest)
        image = (
            decode(self.images.path_of(row), **row.reading)
            if content is None
            else decode_content(content, row.digest, **row.reading)
        )
        return np.asarray(image)

    def take(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> CheckImages:
        """Return the images at positions `[m]` or in a mask `[n]`."""
        rows = tuple(np.array(self.rows, object)[index])
        x, y, is_trained_on = self.x[index], self.y[index], self.is_trained_on[index]
        return replace(self, rows=rows, x=x, y=y, is_trained_on=is_trained_on)

    def __len__(self) -> int:
        return len(self.rows)


def encode_check_images(
    classifier: Classifier,
    images: Images,
    model_folder: Path,
    origin: str,
    store: Store,
    *,
    limit: int = DEFAULT_LIMIT,
    progress: Progress = silent_progress,
) -> CheckImages:
    """Return images with their features and labels, `limit` of them evenly over the list.

    Raises:
        NoImages: None of them can be decoded.
    """
    used = spread(images.used, limit)
    images = replace(images, rows=tuple(used))
    if images.is_multi_label:
        raise InputError(
            "these images have several labels each and the model one; name a folder with one "
            "sub-folder per class with --check-images"
        )
    images, _ = adopt_spellings(images, classifier.classes)
    images, x = encode_block(images, classifier.encoder, store, progress, classifier.value_ranges)
    images.check_not_empty()
    rows = images.used
    number = {name: c for c, name in enumerate(classifier.classes)}
    y = np.array([number.get(str(row.label), -1) for row in rows], np.int64)
    trained = {row.digest for row in read_trained_rows(model_folder)}
    trained |= set(classifier.metadata.get("last_added", {}))
    is_trained_on = np.array([row.digest in trained for row in rows], bool)
    return CheckImages(images, rows, x, y, is_trained_on, origin)


def spread(rows: tuple[Row, ...], limit: int) -> list[Row]:
    """Return at most `limit` rows, evenly spaced over all of them."""
    if len(rows) <= limit:
        return list(rows)
    index = np.linspace(0, len(rows) - 1, limit).round().astype(int)
    return [rows[i] for i in np.unique(index)]


def find_own_images(model_folder: Path, limit: int = DEFAULT_LIMIT) -> Images:
    """Return the images that a model was fitted and evaluated on, where they still are the same.

    Raises:
        NoImages: None of them is where it was, or the model does not record them.
    """
    recorded = _read_recorded(model_folder)
    found = []
    for row in spread(recorded.used, limit):
        path = recorded.path_of(row)
        places = [path, model_folder.parent / path]  # the first is as seen from where it was fitted
        file = next((place for place in places if place.is_file()), None)
        if file is None or row.page or row.value_range:
            continue
        inspected = inspect_inputs([(row.path, str(file))]).rows[0]
        if inspected.status == "used" and inspected.digest == row.digest:
            found.append(replace(row, path=str(file)))
    if not found:
        raise NoImages(
            "none of the images that this model was fitted to is still there, so nothing shows "
            "that the file gives the same answers; name some images with --check-images DIR"
        )
    return Images(None, tuple(found), value_ranges=recorded.value_ranges)


def find_own_folders(model_folder: Path) -> list[Path]:
    """Return the folder of the images that a model was fitted to, if it holds nothing but images.

    None is returned if the model itself lies in it, as it may beside a table or an archive.
    """
    root = _read_recorded(model_folder).root
    places = [] if root is None else [root, model_folder.parent / root]
    found = [place for place in places if place.is_dir()][:1]
    ancestors = (model_folder.resolve(), *model_folder.resolve().parents)
    return [place for place in found if place.resolve() not in ancestors]


def _read_recorded(model_folder: Path) -> Images:
    """Return the images that a model records; none if it records none that can be read."""
    try:
        return Images.from_json(json.loads(read_regular_file(model_folder / INTAKE)))
    except (OSError, ValueError, RecursionError, ArtifactError):
        return Images(None, ())
