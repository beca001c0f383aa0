"""How well a detector tells labelled anomalies from normal images, and finds where they are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ilk.artifacts.anomaly_masks import Mask, find_mask, read_mask, reduce_size
from ilk.artifacts.anomaly_result import AnomalyResult
from ilk.artifacts.pixel_map import Map, PixelMap
from ilk.core.errors import InputError
from ilk.core.metrics import Interval, wilson_interval
from ilk.core.short_lists import list_first
from ilk.images import escape_path
from ilk.maths.roc_area import compute_region_overlap, compute_roc_area, estimate_roc_area

NORMAL_NAMES = ("good", "normal", "ok")
MAX_LISTED = 5  # folders in a message


@dataclass(frozen=True)
class AnomalyEvaluation:
    """Scores of a detector on labelled images.

    Attributes:
        n_normal: Number of normal images.
        n_anomalous: Number of anomalous ones.
        image_auroc: How often an anomalous image has the higher score than a normal one.
        kinds: The same for each kind of anomaly alone.
        false_alarms: Fraction of normal images above the threshold; None without a threshold.
        found: Fraction of anomalous ones above it.
        pixel_auroc: How often an anomalous pixel has the higher value than a normal one; None
            without maps or masks.
        region_overlap: Mean overlap of the anomalous regions, up to a rate of 0.3 of normal pixels.
        n_masks: Number of masks behind the last two.
    """

    n_normal: int
    n_anomalous: int
    image_auroc: Interval
    kinds: dict[str, float]
    false_alarms: Interval | None
    found: Interval | None
    pixel_auroc: float | None = None
    region_overlap: float | None = None
    n_masks: int = 0


@dataclass
class AnomalyScores:
    """Scores and pixels, collected image by image.

    Attributes:
        normal_names: Names of the folders of normal images.
        masks: Folder of the masks; None compares no pixels.
        scores: Scores by kind of anomaly; that of normal images is "".
        pixels: Values of normal pixels, per image.
        regions: Values of the pixels of each anomalous region.
    """

    normal_names: frozenset[str]
    masks: Path | None = None
    scores: dict[str, list[float]] = field(default_factory=dict)
    pixels: list[Map] = field(default_factory=list)
    regions: list[Map] = field(default_factory=list)
    n_masks: int = 0

    def add(self, result: AnomalyResult, kind: str, path: Path) -> None:
        """Add the result of an image that could be read.

        Args:
            result: The result.
            kind: Name of its folder.
            path: Its file.

        Raises:
            InputError: Its mask does not fit.
        """
        is_normal = kind.casefold() in self.normal_names
        self.scores.setdefault("" if is_normal else kind, []).append(result.score)
        if self.masks is None or result.pixel_map is None:
            return
        size = result.pixel_map.size
        found = None if is_normal else find_mask(path, self.masks)
        if not is_normal and found is None:
            return
        reduced = reduce_size(size)
        mask = np.zeros(reduced[::-1], bool) if found is None else read_mask(found, size)
        self.add_pixels(_render_reduced(result.pixel_map, reduced), mask)
        self.n_masks += found is not None

    def add_pixels(self, values: Map, mask: Mask) -> None:
        """Add the values of an image, `[height, width]`, and which of its pixels are anomalous."""
        from scipy.ndimage import label

        self.pixels.append(values[~mask])
        numbers, n_regions = label(mask)
        self.regions += [values[numbers == i] for i in range(1, n_regions + 1)]

    def evaluate(self, threshold: float | None) -> AnomalyEvaluation:
        """Return what the scores say.

        Args:
            threshold: Score above which an image is flagged; None if there is none.

        Raises:
            InputError: There is no normal image, or no anomalous one.
        """
        normal = np.array(self.scores.get("", ()))
        kinds = {kind: np.array(s) for kind, s in sorted(self.scores.items()) if kind}
        if not len(normal) or not kinds:
            missing = "anomalous" if len(normal) else "normal"
            n_images = sum(len(s) for s in self.scores.values())
            raise InputError(
                f"there is no {missing} image among the {n_images:,} images"
                f"{_list_folders(kinds)}; images are normal in a folder called one of "
                f"{', '.join(sorted(self.normal_names))} (or --normal NAME), and anomalous in "
                "others"
            )
        anomalous = np.concatenate(list(kinds.values()))
        pixel_auroc, overlap = None, None
        if self.regions:
            pixels = np.concatenate(self.pixels)
            pixel_auroc = compute_roc_area(pixels, np.concatenate(self.regions))
            overlap = compute_region_overlap(pixels, self.regions)
        return AnomalyEvaluation(
            len(normal),
            len(anomalous),
            estimate_roc_area(normal, anomalous),
            {kind: compute_roc_area(normal, s) for kind, s in kinds.items()},
            _share_above(normal, threshold),
            _share_above(anomalous, threshold),
            pixel_auroc,
            overlap,
            self.n_masks,
        )


def _share_above(scores: Iterable[float], threshold: float | None) -> Interval | None:
    if threshold is None:
        return None
    above = [score > threshold for score in scores]
    return wilson_interval(sum(above), len(above))


def _render_reduced(pixel_map: PixelMap, size: tuple[int, int]) -> Map:
    """Return the map `[height, width]` at another size of its image."""
    scale = (size[0] / pixel_map.size[0], size[1] / pixel_map.size[1])
    left, top, right, bottom = pixel_map.box
    box = (left * scale[0], top * scale[1], right * scale[0], bottom * scale[1])
    return PixelMap(pixel_map.values, box, size).render()


def _list_folders(kinds: Iterable[str]) -> str:
    """Return the first folders of anomalous images, for a message; "" for none."""
    shown = list_first([escape_path(kind) for kind in kinds if kind], MAX_LISTED)
    return f" (folders: {shown})" if shown else ""
