"""A folder of maps: one picture per image, and a page with the most anomalous ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from ilk.artifacts.anomaly_result import AnomalyResult
from ilk.artifacts.picture_folder import (
    PAGE,
    check_picture_folder,
    create_picture_folder,
    write_picture,
)
from ilk.core.atomic_write import write_atomically
from ilk.maths.alarm_threshold import MAX_SCORE
from ilk.report.anomaly_page import AnomalyView, keep_worst, render_anomaly_page

MARK, OPTION = ".ilk-maps", "--maps"


@dataclass
class MapFolder:
    """Writes the map of each result as it comes.

    Attributes:
        folder: The folder.
        scale: Score at which a map is red.
        detector: The detector, as the page shows it.
    """

    folder: Path
    scale: float
    detector: str
    n_images: int = 0
    n_flagged: int = 0
    _worst: list[AnomalyView] = field(default_factory=list)

    def open(self) -> MapFolder:
        """Create the folder.

        Raises:
            OutputError: It cannot be created.
        """
        create_picture_folder(self.folder, MARK, OPTION)
        return self

    def add(self, result: AnomalyResult) -> str:
        """Write the map of an image; return the name of its file, "" for an image without a map.

        Raises:
            OutputError: It cannot be written.
        """
        if result.pixel_map is None or result.picture is None:
            return ""
        # The score weighs the greatest distance, and the scale is one of scores.
        weight = result.score / max(float(result.pixel_map.values.max()), 1e-12)
        drawn = result.pixel_map.draw(result.picture, self.scale / max(weight, 1e-12))
        name = write_picture(self.folder, self.n_images, result.row.path, drawn)
        self.n_images += 1
        self.n_flagged += result.is_anomaly
        view = AnomalyView(
            result.row.path, result.score, result.is_anomaly, result.picture.copy(), drawn
        )
        self._worst = keep_worst(self._worst, view)
        return name

    def write_page(self, has_threshold: bool) -> Path:
        """Write the page and return its path; raises OutputError if it cannot be written."""
        flagged = self.n_flagged if has_threshold else None
        page = render_anomaly_page(self._worst, self.n_images, flagged, self.detector)
        write_atomically(self.folder / PAGE, page.encode())
        return self.folder / PAGE


def check_map_folder(folder: Path, sources: Iterable[str]) -> Path:
    """Return `folder` if maps can be written there and nothing of the user's is lost.

    Raises:
        OutputError: It holds other things, is a file, or lies among the images.
    """
    return check_picture_folder(folder, sources, MARK, OPTION, "maps")


def find_scale(threshold: float | None, calibration_scores: Iterable[float]) -> float:
    """Return the distance at which a map is red: the threshold, or the median normal score.

    Where there are too few normal images for a threshold, the greatest of their scores is of an
    image that has no like among the others, and maps would be faint.
    """
    if threshold is not None and 0 < threshold < MAX_SCORE:
        return threshold
    return float(median([score for score in calibration_scores if score > 0] or [1.0]))
