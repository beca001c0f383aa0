"""Several encoders side by side, as a saved combination of candidates needs them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ilk.core.capabilities import Embeds
from ilk.core.data import Features
from ilk.core.fingerprint import compute_key
from ilk.core.space import FeatureSpace

SEPARATOR = " + "  # between the names of the parts
PROBE_SIZE = (32, 32)  # of an image that shows the shapes of prepared images


@dataclass(frozen=True, eq=False)
class CombinedEncoder:
    """Features of several encoders, side by side.

    `encode_images` decodes each image once and stores the features of each part in the part's own
    space, so that a combination stores nothing twice.

    Attributes:
        parts: The encoders, at least two, in the order of their columns.
    """

    parts: tuple[Embeds, ...]

    @property
    def name(self) -> str:
        """The names of the parts, such as `efficientnet-lite0 + hog`."""
        return SEPARATOR.join(part.name for part in self.parts)

    @property
    def space(self) -> FeatureSpace:
        """The spaces of the parts side by side."""
        spaces = tuple(part.space for part in self.parts)
        key = compute_key({"family": "combined", "parts": [space.key for space in spaces]})
        return FeatureSpace(key, self.name, sum(space.dim for space in spaces), spaces)

    @property
    def batch_size(self) -> int:
        """The greatest batch size of the parts."""
        return max(part.batch_size for part in self.parts)

    def describe(self) -> dict[str, Any]:
        """Return name, key and the descriptions of the parts, for `restore_encoder`."""
        parts = [part.describe() for part in self.parts]
        return {"name": self.name, "key": self.space.key, "parts": parts}

    def load(self) -> None:
        """Load the weights of all parts."""
        for part in self.parts:
            part.load()

    @cached_property
    def _shapes(self) -> list[tuple[int, ...]]:
        """The shape `[c, h, w]` of an image that each part has prepared."""
        image = Image.new("RGB", PROBE_SIZE)
        return [part.prepare(image).shape for part in self.parts]

    def prepare(self, image: Image.Image) -> NDArray[np.uint8]:
        """Prepare an RGB image for all parts: their values one after the other, `[1, 1, w]`."""
        return np.concatenate([part.prepare(image).ravel() for part in self.parts])[None, None]

    def embed(self, batch: NDArray[np.uint8]) -> Features:
        """Return the features of all parts, `[b, d]`, of images that `prepare` prepared."""
        ends = np.cumsum([int(np.prod(shape)) for shape in self._shapes])
        blocks = np.split(batch[:, 0, 0], ends[:-1], axis=1)
        return np.concatenate(
            [
                part.embed(block.reshape(len(batch), *shape))
                for part, block, shape in zip(self.parts, blocks, self._shapes, strict=True)
            ],
            axis=1,
        )


def combine_encoders(encoders: tuple[Embeds, ...]) -> Embeds:
    """Return the encoder itself if there is one, else all of them side by side."""
    return encoders[0] if len(encoders) == 1 else CombinedEncoder(encoders)
