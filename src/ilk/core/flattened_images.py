"""Methods that read images, on rows of flattened pixels such as the `pixels` encoder gives."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Data, Features, Logits


@dataclass(frozen=True, eq=False)
class FlattenedImageModel:
    """A model of images, applied to rows of flattened pixels.

    Attributes:
        model: Model whose `logits` take images `[n, c, h, w]`.
        channels: c.
        height: h, in pixels.
        width: w, in pixels.
    """

    kind: ClassVar[str] = "flattened_images"

    model: Any
    channels: int
    height: int
    width: int

    def logits(self, x: Features) -> Logits:
        """Return the logits `[n, k]` of flattened images `[n, c h w]`."""
        images = _to_images(x, (self.channels, self.height, self.width))
        logits: Logits = self.model.logits(images)
        return logits


@dataclass(frozen=True)
class FlattenedImages:
    """A method of images, fitted to rows of flattened pixels.

    It has the tags and the description of the method inside.

    Attributes:
        method: Method with `input_kind` "images".
        channels: c.
        height: h, in pixels.
        width: w, in pixels.
    """

    method: Any
    channels: int
    height: int
    width: int

    def fit(self, data: Data) -> FlattenedImageModel:
        """Fit the method to flattened images `[n, c h w]`."""
        shape = (self.channels, self.height, self.width)
        return FlattenedImageModel(
            self.method.fit(replace(data, x=_to_images(data.x, shape))), *shape
        )

    def __getattr__(self, name: str) -> Any:
        if name == "method" or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.method, name)


def _to_images(x: NDArray[Any], shape: tuple[int, int, int]) -> NDArray[Any]:
    """Rows `[n, c h w]` as images `[n, c, h, w]`."""
    return np.asarray(x).reshape(len(x), *shape)
