"""What an explainer explains: one prepared image, and the answer of a classifier about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ilk.core.capabilities import Embeds
from ilk.core.cores import count_cores, limit_torch_threads
from ilk.core.data import Features
from ilk.core.worker_threads import WorkerThreads
from ilk.explain.answer import Answer, Vector
from ilk.explain.baselines import Fill, fill_picture, fill_planes
from ilk.explain.geometry import Geometry, find_geometry

if TYPE_CHECKING:
    from ilk.explain.neighbours import NeighbourIndex

GRADIENT_PASSES = 3  # a pass forward and one back cost about as much as three forward
MAX_ROWS = 64  # masked images in memory at once


@dataclass(eq=False)
class Subject:
    """One prepared image, and the answer of a classifier about it as a number.

    An explainer asks it how the answer changes under masks (`score_masks`), or opens the network
    behind the encoder (`ilk.explain.networks`). Every pass of the encoder is counted.

    Attributes:
        encoder: Encoder of the classifier.
        answer: What is explained.
        prepared: The image as the encoder takes it, usually `[c, h, w]`, uint8.
        geometry: Where its values lie on the picture.
        image: The RGB image.
        neighbours: The training images that are kept beside the model; None if there are none.
        n_passes: Passes of the encoder so far.
        results: What `ilk.explain.evaluation` measured of it so far.
    """

    encoder: Embeds
    answer: Answer
    prepared: NDArray[np.uint8]
    geometry: Geometry
    image: Image.Image
    neighbours: NeighbourIndex | None = None
    n_passes: int = 0
    results: dict[tuple[str, int], Any] = field(default_factory=dict)
    _fills: dict[str, NDArray[np.uint8]] = field(default_factory=dict)

    @classmethod
    def from_image(
        cls, answer: Answer, image: Image.Image, neighbours: NeighbourIndex | None = None
    ) -> Subject:
        """Prepare an RGB image of any size for the classifier of `answer`."""
        encoder: Embeds = answer.classifier.encoder
        prepared = np.asarray(encoder.prepare(image))
        geometry = find_geometry(encoder, image, prepared)
        return cls(encoder, answer, prepared, geometry, image, neighbours)

    def with_answer(self, answer: Answer) -> Subject:
        """Return the same image with another question."""
        return Subject(
            answer.classifier.encoder, answer, self.prepared, self.geometry, self.image,
            self.neighbours,
        )  # fmt: skip

    @property
    def picture(self) -> NDArray[np.uint8]:
        """The picture that maps lie on, RGB, `[h, w, 3]` uint8."""
        return self.geometry.picture

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of every map."""
        return self.geometry.shape

    @cached_property
    def features(self) -> Features:
        """Features `[d]` of the image."""
        return np.asarray(self.embed(self.prepared[None])[0])

    @cached_property
    def value(self) -> float:
        """The answer for the whole image, in [0, 1]."""
        return float(self.answer.score(self.features[None])[0])

    @cached_property
    def log_odds(self) -> float:
        """The log-odds of the answer for the whole image."""
        return float(self.answer.log_odds(self.features[None])[0])

    def get_filled(self, fill: Fill) -> NDArray[np.uint8]:
        """Return the prepared image `[c, h, w]` without content; see `ilk.explain.baselines`."""
        if fill not in self._fills:
            if self.geometry.places is None:
                self._fills[fill] = fill_planes(self.prepared, fill)
            else:
                self._fills[fill] = np.asarray(self.encoder.prepare(fill_picture(self.image, fill)))
        return self._fills[fill]

    def embed(self, batch: NDArray[np.uint8]) -> Features:
        """Return features `[n, d]` of prepared images `[n, ...]`, on all cores."""
        size = self.encoder.batch_size
        parts = [batch[i : i + size] for i in range(0, len(batch), size)]
        self.n_passes += len(batch)
        n_threads = min(count_cores(), len(parts))
        if n_threads < 2:
            return np.concatenate([self.encoder.embed(part) for part in parts])
        with limit_torch_threads() as start, WorkerThreads(n_threads, "explain", start) as pool:
            tasks = [pool.submit(partial(self.encoder.embed, part)) for part in parts]
            return np.concatenate([pool.get_result(task) for task in tasks])

    def score(self, batch: NDArray[np.uint8]) -> Vector:
        """Return the answer `[n]`, in [0, 1], for prepared images `[n, ...]`."""
        return self.answer.score(self.embed(batch))

    def apply_masks(self, masks: NDArray[Any], fill: Fill = "blur") -> NDArray[np.uint8]:
        """Return prepared images `[n, ...]` with masks `[n, h, w]` in [0, 1]: 1 keeps, 0 fills."""
        kept = self.geometry.expand(np.asarray(masks, np.float32), self.prepared.shape)
        filled = self.get_filled(fill).astype(np.float32)
        mixed = filled + kept * (self.prepared.astype(np.float32) - filled)
        return np.asarray(np.round(mixed), np.uint8)

    def embed_masks(self, masks: NDArray[Any], fill: Fill = "blur") -> Features:
        """Return features `[n, d]` of the image under masks `[n, h, w]` in [0, 1]."""
        parts = [masks[i : i + MAX_ROWS] for i in range(0, len(masks), MAX_ROWS)]
        return np.concatenate([self.embed(self.apply_masks(part, fill)) for part in parts])

    def score_masks(self, masks: NDArray[Any], fill: Fill = "blur") -> Vector:
        """Return the answer `[n]` for the image under masks `[n, h, w]`: 1 keeps a pixel."""
        return self.answer.score(self.embed_masks(masks, fill))

    def measure_falls(self, masks: NDArray[Any], fill: Fill = "blur") -> Vector:
        """Return by how much the log-odds of the answer fall under masks `[n, h, w]`, `[n]`.

        A confident probability stays at 1 until half the image is gone; its log-odds fall at once.
        """
        return self.log_odds - self.answer.log_odds(self.embed_masks(masks, fill))
