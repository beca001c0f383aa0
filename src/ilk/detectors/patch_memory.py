"""Distance of each patch of an image to the nearest patch of normal images: PatchCore.

Karsten Roth, Latha Pemula, Joaquin Zepeda, Bernhard Schölkopf, Thomas Brox, Peter Gehler, 2022,
Towards Total Recall in Industrial Anomaly Detection, arXiv 2106.08265.

    s(p) = min over m in memory of |p - m|,   s*, p*, m* = the greatest s(p) of the image
    s(x) = (1 - exp |p* - m*| / sum over the b entries m nearest to m* of exp |p* - m|) s*

(equations 6 and 7), with the memory a greedy coreset of the patches (`ilk.maths.coreset`): a patch
that is far from a rare normal patch counts more than one that is as far from a common one. Which
features a patch has is up to the encoder (`ilk.architectures.patch_network`).

Departures: distances are those of features that are partly whitened, so that directions along which
normal patches vary little count more (`shrinkage=None` is the paper's). At most 20,000 patches,
drawn at random, are candidates for the memory, which has 500 to 2,000, so that time and memory are
bounded. The paper sets no threshold. Here it is conformal: folds of normal images, whole groups,
are scored by a memory of the others.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import ceil
from typing import ClassVar

import numpy as np

from ilk.core.contracts import DetectorTags
from ilk.core.data import Data, Features
from ilk.core.part_bounds import NON_NEGATIVE, Bounds
from ilk.maths import folds
from ilk.maths.alarm_threshold import (
    CalibratedDetector,
    select_normal_rows,
    sort_calibration,
)
from ilk.maths.coreset import select_coreset
from ilk.maths.patch_scores import Vector, fit_whitening, score_patches, split_patches

MIN_KEPT = 500  # patches in the memory at least, whatever the fraction
PROJECTED = 64  # width of the random projection that the coreset is chosen in


@dataclass(frozen=True, eq=False)
class PatchDetector(CalibratedDetector):
    """Patches of normal images.

    Attributes:
        memory: Features of the patches, centred and whitened, `[p, c]`.
        centre: Mean of the features of normal patches, `[c]`.
        whitening: Maps centred features to those of the memory, `[c, c]`.
        height: Rows of patches per image.
        width: Columns of patches per image.
        neighbours: Entries near the nearest one that a score is weighed with.
        calibration_scores: Scores of normal images by memories without them, ascending, `[m]`.
        calibration_votes: Their votes, `[m]`: one per image, or per group; empty is 1 each.
    """

    kind: ClassVar[str] = "patch_detector"
    shapes: ClassVar[dict[str, str]] = {
        "memory": "p c",
        "centre": "c",
        "whitening": "c c",
        "calibration_scores": "m",
        "calibration_votes": "m?",
    }
    bounds: ClassVar[dict[str, Bounds]] = {
        "height": (1, 1024),
        "width": (1, 1024),
        "neighbours": (1, float("inf")),
        "calibration_scores": NON_NEGATIVE,
        "calibration_votes": NON_NEGATIVE,
    }

    memory: Features
    centre: Features
    whitening: Features
    height: int
    width: int
    neighbours: int
    calibration_scores: Vector
    calibration_votes: Vector = field(default_factory=lambda: np.zeros(0))

    def score(self, x: Features) -> Vector:
        """Return the score `[n]` of the patches `[n, height width c]` of n images."""
        return self.score_with_map(x)[0]

    def score_map(self, x: Features) -> Features:
        """Return the distance of every patch, `[n, height, width]`."""
        return self.score_with_map(x)[1]

    def score_with_map(self, x: Features) -> tuple[Vector, Features]:
        """Return scores `[n]` and maps `[n, height, width]` from one comparison."""
        grid = (self.height, self.width)
        return score_patches(x, self.memory, self.centre, self.whitening, grid, self.neighbours)


@dataclass(frozen=True)
class PatchMemory(DetectorTags):
    """Distance of patches to those of class 0; of all images if none has a label.

    Attributes:
        height: Rows of patches per image; a row of features holds patch after patch.
        width: Columns of patches per image.
        fraction: Fraction of the patches that the memory holds, in (0, 1]; 500 at least.
        max_kept: Patches in the memory at most.
        max_candidates: Patches, drawn at random, that the memory is chosen from.
        neighbours: Entries near the nearest one that a score is weighed with; 1 uses no weight.
        shrinkage: Added to the variance of every direction before features are whitened, as a
            fraction of the mean variance, > 0; None leaves features as they are.
        folds: Number of folds for the scores behind a threshold, >= 2.
        seed: Seed of the draw, of the projection and of the folds.
    """

    reads_patches = True

    height: int = 1
    width: int = 1
    fraction: float = 0.1
    max_kept: int = 2000
    max_candidates: int = 20_000
    neighbours: int = 9
    shrinkage: float | None = 0.1
    folds: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise ValueError(f"fraction is {self.fraction}; it must be above 0, and at most 1")
        if self.shrinkage is not None and self.shrinkage <= 0:
            raise ValueError(f"shrinkage is {self.shrinkage}; it must be positive, or None")
        least = min(self.height, self.width, self.max_kept, self.max_candidates, self.neighbours)
        if least < 1 or self.folds < 2:
            raise ValueError(
                "height, width, max_kept, max_candidates and neighbours are at least 1, folds 2"
            )

    def fit(self, data: Data) -> PatchDetector:
        """Choose the memory, and score folds of normal images by memories of the others.

        Raises:
            NoLabels: If there are labels but none of class 0.
            InputError: If there are no rows, they are not vectors that divide into patches, or
                their weights differ.
        """
        rows = select_normal_rows(data, self)
        x, y = np.asarray(rows.x, np.float32), np.zeros(len(rows), np.int64)
        split_patches(x, self.height, self.width)  # refuses rows that are not patches
        n_folds = folds.count_folds(y, self.folds, rows.group)
        fold = folds.assign_folds(y, n_folds, self.seed, rows.group)
        scores = np.full(len(x), np.nan)
        for f in range(n_folds if n_folds > 1 else 0):
            scores[fold == f] = self._choose_memory(x[fold != f]).score(x[fold == f])
        scores, votes = sort_calibration(scores, rows.group)
        return replace(self._choose_memory(x), calibration_scores=scores, calibration_votes=votes)

    def _choose_memory(self, x: Features) -> PatchDetector:
        patches = split_patches(x, self.height, self.width)
        flat = patches.reshape(-1, patches.shape[2])
        size = max(ceil(self.fraction * len(flat)), MIN_KEPT)
        if len(flat) > self.max_candidates:
            rng = np.random.default_rng(self.seed)
            flat = flat[np.sort(rng.permutation(len(flat))[: self.max_candidates])]
        centre, whitening = fit_whitening(flat, self.shrinkage)
        candidates = np.asarray((flat - centre) @ whitening, np.float32)
        kept = min(size, self.max_kept, len(flat))
        memory = candidates[select_coreset(candidates, kept, PROJECTED, self.seed)]
        grid = (self.height, self.width, self.neighbours)
        return PatchDetector(memory, centre, whitening, *grid, np.zeros(0))
