"""An explanation of one answer: a map, its verdict, and the nearest training images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ilk.explain.contract import Map
from ilk.explain.facts import Facts
from ilk.explain.overlay import draw_map, enlarge
from ilk.explain.verdict import Verdict

if TYPE_CHECKING:
    from ilk.explain.neighbours import Neighbour

NO_NEIGHBOURS = (
    "this model keeps no training images to compare with; fit it again to get the nearest ones"
)


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why a classifier answers as it does for one image.

    Attributes:
        values: The map, `[h, w]` float32, in the geometry of `picture`: positive supports the
            target.
        picture: The picture that it lies on, RGB, `[h, w, 3]` uint8: the image as the encoder
            takes it.
        method: Name of the explainer, with its settings where they are not the defaults.
        target: The class that is explained.
        against: The class that it is contrasted with; "" explains the calibrated probability.
        probability: Calibrated probability of the target.
        predicted: The class with the highest probability.
        verdict: Whether the map can be trusted on this image.
        text: The explanation in sentences; the last one is the verdict.
        facts: What the sentences are made of.
        neighbours: The nearest training images, most similar first; empty if the model keeps none.
        n_passes: Passes of the encoder that it took, verdict included.
        seconds: Time that it took.
    """

    values: Map
    picture: NDArray[np.uint8]
    method: str
    target: str
    against: str
    probability: float
    predicted: str
    verdict: Verdict
    text: str
    facts: Facts
    neighbours: tuple[Neighbour, ...]
    n_passes: int
    seconds: float

    def draw_overlay(self) -> Image.Image:
        """Return the map over the picture, RGB: orange supports the target, blue is against it."""
        return draw_map(self.picture, self.values)

    def draw_picture(self) -> Image.Image:
        """Return the picture alone, at the size of the overlay."""
        return enlarge(Image.fromarray(self.picture))

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the picture as plain values; the map is a list of rows."""
        return {
            "method": self.method,
            "target": self.target,
            "against": self.against,
            "probability": self.probability,
            "predicted": self.predicted,
            "verdict": self.verdict.to_dict(),
            "text": self.text,
            "facts": self.facts.to_dict(),
            "neighbours": [n.to_dict() for n in self.neighbours],
            "neighbours_note": "" if self.neighbours else NO_NEIGHBOURS,
            "n_passes": self.n_passes,
            "seconds": self.seconds,
            "values": np.round(self.values.astype(np.float64), 6).tolist(),
        }
