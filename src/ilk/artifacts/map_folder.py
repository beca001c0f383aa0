"""A folder of maps: one picture per image, and a page with the most anomalous ones."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from statistics import median

from ilk.artifacts.anomaly_result import AnomalyResult
from ilk.artifacts.output_files import check_outside_sources
from ilk.core.atomic_write import write_atomically
from ilk.core.errors import OutputError
from ilk.images import escape_path
from ilk.maths.alarm_threshold import MAX_SCORE
from ilk.report.anomaly_page import AnomalyView, keep_worst, render_anomaly_page

PAGE, MARK = "index.html", ".ilk-maps"


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
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / MARK).touch()
        except OSError as error:
            raise OutputError(
                f"cannot write the folder {escape_path(self.folder)}: {error.strerror or error}; "
                "name another one with --maps"
            ) from error
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
        name = f"{self.n_images:05d}_{_make_stem(result.row.path)}.png"
        buffer = BytesIO()
        drawn.save(buffer, "png")
        write_atomically(self.folder / name, buffer.getvalue())
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
    check_outside_sources(folder, list(sources))
    is_used = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    if is_used and not (folder / MARK).is_file():
        raise OutputError(
            f"{escape_path(folder)} exists and holds no maps of ilk; name another folder with "
            "--maps, such as one that does not exist yet"
        )
    return folder


def find_scale(threshold: float | None, calibration_scores: Iterable[float]) -> float:
    """Return the distance at which a map is red: the threshold, or the median normal score.

    Where there are too few normal images for a threshold, the greatest of their scores is of an
    image that has no like among the others, and maps would be faint.
    """
    if threshold is not None and 0 < threshold < MAX_SCORE:
        return threshold
    return float(median([score for score in calibration_scores if score > 0] or [1.0]))


def _make_stem(path: str) -> str:
    """Return the end of a path as a name for a file on any system."""
    stem = os.path.splitext(os.path.basename(path))[0]
    return re.sub(r"[^\w.-]+", "_", stem.encode("ascii", "replace").decode())[:60] or "image"
