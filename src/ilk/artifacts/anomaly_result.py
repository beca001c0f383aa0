"""What a detector answers for one image."""

from __future__ import annotations

from dataclasses import dataclass, field

from PIL import Image

from ilk.artifacts.pixel_map import PixelMap
from ilk.images import Row


@dataclass(frozen=True)
class AnomalyResult:
    """Result for one image.

    Attributes:
        row: The image; `row.status` is not "used" if it could not be read.
        score: Anomaly score; nan if the image could not be read.
        is_anomaly: Whether the score exceeds the threshold.
        pixel_map: Where the image is anomalous, if that was asked for and the detector compares
            patches.
        picture: The decoded image, if maps were asked for.
    """

    row: Row
    score: float
    is_anomaly: bool
    pixel_map: PixelMap | None = field(default=None, compare=False, repr=False)
    picture: Image.Image | None = field(default=None, compare=False, repr=False)
