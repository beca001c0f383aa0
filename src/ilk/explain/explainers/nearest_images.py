"""Nearest images: where covering the image makes it less like training images of the target.

Nicolas Papernot, Patrick McDaniel, 2018, Deep k-Nearest Neighbors, arXiv 1803.04765, explain an
answer by training images with near features; the map is occlusion (Zeiler and Fergus 2014) of

    f(x) = mean similarity to the `n` nearest of the target - that to the `n` nearest of the rest

so it explains the encoder and the stored images, not the head. Those `n` images of either side are
found once, for the whole image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Features
from ilk.core.errors import Unavailable
from ilk.explain.contract import ExplainerTags, Map, check_least
from ilk.explain.subject import Subject
from ilk.explain.windows import average_windows, cut_windows, tile_windows


@dataclass(frozen=True)
class NearestImages(ExplainerTags):
    """Occlusion of the similarity to training images.

    Attributes:
        n_images: Training images of either side, at least 1.
        n_windows: Windows along a side, which overlap by half.
    """

    name: ClassVar[str] = "nearest-images"
    paper: ClassVar[str] = "after Papernot and McDaniel 2018"
    needs_neighbours: ClassVar[bool] = True

    n_images: int = 3
    n_windows: int = 4

    def __post_init__(self) -> None:
        check_least(self, n_images=1, n_windows=1)

    def count_passes(self, subject: Subject, /) -> int:
        """Return the number of windows."""
        return (2 * self.n_windows + 1) ** 2

    def explain(self, subject: Subject, seed: int, /) -> Map:
        """Return the mean fall of the similarity over the windows that cover each pixel."""
        rows, weights = self._choose_images(subject)
        index = subject.neighbours
        assert index is not None, "_choose_images refuses a model without"

        def compare(features: Features) -> NDArray[np.float64]:
            return np.asarray(index.compute_similarity(features)[:, rows] @ weights, np.float64)

        side = max(1, round(max(subject.shape) / self.n_windows))
        windows = tile_windows(subject.shape, side, max(1, side // 2))
        before = compare(subject.features[None])[0]
        after = compare(subject.embed_masks(cut_windows(subject.shape, windows)))
        return average_windows(subject.shape, windows, before - after)

    def _choose_images(self, subject: Subject) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return rows of the index, and their weights, which sum to 1 and to -1."""
        index, answer = subject.neighbours, subject.answer
        if index is None:
            raise Unavailable(
                f"{self.name} needs the training images that a model keeps, and this one keeps "
                "none; fit it again, or use --method occlusion"
            )
        names = answer.classifier.classes
        target = names[answer.target]
        is_target = index.has_label(target)
        is_other = ~is_target
        if answer.against >= 0:
            is_other &= index.has_label(names[answer.against])
        similarity = index.compute_similarity(subject.features[None])[0]
        rows: list[NDArray[np.int64]] = []
        weights: list[NDArray[np.float32]] = []
        for is_used, sign in ((is_target, 1.0), (is_other, -1.0)):
            found = np.flatnonzero(is_used)
            if len(found):
                best = found[np.argsort(-similarity[found], kind="stable")[: self.n_images]]
                rows.append(best)
                weights.append(np.full(len(best), sign / len(best), np.float32))
        if not is_target.any():
            raise Unavailable(
                f"the model keeps no training image of {target!r}; use --method occlusion"
            )
        return np.concatenate(rows), np.concatenate(weights)
