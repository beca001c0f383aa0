"""The student's images: decoded once to its size, or as they are needed where memory is short."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Labels
from ilk.core.progress import Progress, silent_progress
from ilk.core.threaded_map import map_threaded
from ilk.distillation.students import Student
from ilk.encode.encode_task import prepare_row
from ilk.images import MAX_PIXELS, Images, Row

if TYPE_CHECKING:
    from PIL.Image import Image

    from ilk.training.sources import Source

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Reader:
    """Reads images as the student takes them, `[c, h, w]` uint8.

    Attributes:
        images: Where they are read from.
        student: What they are prepared for.
    """

    images: Images
    student: Student

    def prepare(self, image: Image) -> Pixels:
        """Return the pixels of an RGB image, `[c, h, w]`."""
        pixels = self.student.preprocess.prepare(image)
        if self.student.channels == 3:
            return pixels
        from ilk.core.student_images import GREY

        grey = np.tensordot(GREY, pixels, 1)
        return np.asarray(np.rint(grey).astype(np.uint8)[None])

    def read(self, row: Row) -> Pixels:
        """Return the pixels of a row, `[c, h, w]`.

        Raises:
            ImageError: It cannot be decoded, or has changed since it was listed.
        """
        encoder = _PixelTaker(self)
        prepared = prepare_row(self.images, row, [encoder], MAX_PIXELS, summarize=False)  # type: ignore[list-item]
        return prepared.arrays[0]

    def read_all(
        self, rows: Sequence[Row], progress: Progress = silent_progress, what: str = "reading"
    ) -> Pixels:
        """Return the pixels of all rows, `[n, c, h, w]`."""
        size = self.student.preprocess.size
        pixels = np.zeros((len(rows), self.student.channels, *size), np.uint8)
        with progress(what, len(rows)) as advance:
            for i, array in enumerate(map_threaded(self.read, rows, advance)):
                pixels[i] = array
        return pixels

    def open_source(
        self, rows: Sequence[Row], y: Labels, progress: Progress = silent_progress
    ) -> Source:
        """Return the rows as a training set with labels `y [n]`, -1 without one."""
        from ilk.training.sources import DecodedSource, read_decoded

        return read_decoded(DecodedSource(rows, y, self.read), progress)


@dataclass(frozen=True)
class _PixelTaker:
    """What decoding prepares an image for."""

    reader: Reader

    def prepare(self, image: Image) -> Pixels:
        return self.reader.prepare(image)
