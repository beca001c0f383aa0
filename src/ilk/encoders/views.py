"""Average the features of an image over flips and crops: `NAME@views=6`.

Alex Krizhevsky, Ilya Sutskever, Geoffrey E. Hinton, 2012, ImageNet Classification with Deep
Convolutional Neural Networks, section 4.1, averages predictions over crops and their reflections.
Here the features are averaged; for a linear classifier that is the average of its logits. A feature
is as wide as that of the plain encoder, so everything that reads features works as before.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ilk.core.capabilities import Embeds, EmbedsText
from ilk.core.data import Features
from ilk.core.fingerprint import compute_key
from ilk.core.space import FeatureSpace
from ilk.encoders.network import NetworkEncoder

PART = 0.8  # sides of a crop, as a fraction of the sides of the image
LEFT, RIGHT, TOP, BOTTOM, MIDDLE = 0.0, 1.0, 0.0, 1.0, 0.5
# The crop's place (None is the whole image), and whether it is mirrored; the first n are used.
VIEWS: tuple[tuple[tuple[float, float] | None, bool], ...] = (
    (None, False),
    (None, True),
    ((LEFT, TOP), False),
    ((RIGHT, TOP), True),
    ((LEFT, BOTTOM), False),
    ((RIGHT, BOTTOM), True),
    ((LEFT, TOP), True),
    ((RIGHT, TOP), False),
    ((LEFT, BOTTOM), True),
    ((RIGHT, BOTTOM), False),
    ((MIDDLE, MIDDLE), False),
    ((MIDDLE, MIDDLE), True),
)
MAX_VIEWS = len(VIEWS)


class ViewEncoder:
    """An encoder of the mean feature over the views of an image.

    A crop has at least one pixel; where an image is too small for the crop to differ from it, the
    view is the image itself.

    Args:
        base: The encoder of a single view.
        n_views: Number of views, from 2 to `MAX_VIEWS`: the image, its mirror image, then crops of
            80 % of its sides at the corners and in the middle, plain or mirrored.
    """

    def __init__(self, base: Embeds, n_views: int) -> None:
        self.base, self.n_views = base, n_views
        separator = "," if "@resize=" in base.name else "@"
        self.name = f"{base.name}{separator}views={n_views}"
        # A network's own margin would cut the border off each crop once more.
        self._prepare_part = base.prepare
        if isinstance(base, NetworkEncoder):
            self._prepare_part = base.preprocess.without_margin().prepare

    @property
    def batch_size(self) -> int:
        """Best batch size for `embed`, in images."""
        return max(1, self.base.batch_size // self.n_views)

    @cached_property
    def space(self) -> FeatureSpace:
        views = [[place, is_mirrored] for place, is_mirrored in VIEWS[: self.n_views]]
        key = compute_key({"mean over": views, "part": PART, "of": self.base.space.key})
        return FeatureSpace(key, self.name, self.base.space.dim)

    def describe(self) -> dict[str, Any]:
        base = self.base.describe()
        return {**base, "name": self.name, "key": self.space.key, "views": self.n_views}

    def load(self) -> None:
        """Load the weights; raises what `load` of the base raises."""
        self.base.load()

    def prepare(self, image: Image.Image) -> NDArray[np.uint8]:
        """Preprocess the views of an RGB image, one after the other, to `[n_views c, h, w]`."""
        return np.concatenate([self._prepare_view(image, *v) for v in VIEWS[: self.n_views]])

    def _prepare_view(
        self, image: Image.Image, place: tuple[float, float] | None, is_mirrored: bool
    ) -> NDArray[np.uint8]:
        part = image if place is None else crop_part(image, place)
        if is_mirrored:
            part = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return self.base.prepare(part) if place is None else self._prepare_part(part)

    def embed_views(self, batch: NDArray[np.uint8]) -> Features:
        """Return the features `[b, n_views, d]` of prepared images `[b, n_views c, h, w]`."""
        b, _, height, width = batch.shape
        features = self.base.embed(batch.reshape(b * self.n_views, -1, height, width))
        return features.reshape(b, self.n_views, -1)

    def embed(self, batch: NDArray[np.uint8]) -> Features:
        """Return the mean features `[b, d]` of prepared images `[b, n_views c, h, w]`."""
        return average_views(self.embed_views(batch))


class TextViewEncoder(ViewEncoder):
    """A `ViewEncoder` whose base also embeds texts."""

    def embed_text(self, prompts: Any) -> Features:
        """Return features `[k, d]` of length 1."""
        assert isinstance(self.base, EmbedsText)
        return self.base.embed_text(prompts)


def crop_part(image: Image.Image, place: tuple[float, float]) -> Image.Image:
    """Return the part of an image at a place from (0, 0), top left, to (1, 1), bottom right."""
    width, height = max(1, round(PART * image.width)), max(1, round(PART * image.height))
    left = round(place[0] * (image.width - width))
    top = round(place[1] * (image.height - height))
    return image.crop((left, top, left + width, top + height))


def average_views(features: Features) -> Features:
    """Return the mean `[n, d]` of features of views `[n, n_views, d]`."""
    return np.asarray(features.mean(1, dtype=np.float64), np.float32)
