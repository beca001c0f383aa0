"""A cheap head on a diffusion network's own features: the nearest class mean, standardised.

It costs one call of the network where a diffusion classifier costs one a class and level, so it may
say which classes are worth those (`ilk.diffusion.shortlist`). Each network has its own, learnt from
the images that it learnt from itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ilk.diffusion.contract import Denoises
from ilk.diffusion.features import features
from ilk.diffusion.reading import Point
from ilk.diffusion.taps import Taps
from ilk.errors import ArtefactError
from ilk.training import checkpoint

FILE = "cheap.safetensors"
NEVER = 1e4  # how far a class without an image is, in deviations


@dataclass(frozen=True, eq=False)
class Cheap:
    """Nearest class means.

    Attributes:
        point: Where the network is read.
        mean: Of each feature, `[d]`.
        deviation: Of each feature, `[d]`, > 0.
        centres: Of each class, standardised, `[k, d]`.
    """

    point: Point
    mean: Tensor
    deviation: Tensor
    centres: Tensor

    @classmethod
    def fit(cls, network: Denoises, x: Tensor, y: Tensor, point: Point) -> Cheap:
        """Learn from images `[n, c, h, w]` and classes `[n]`; rows of -1 are left out."""
        rows = _read(network, x[y >= 0], point)
        mean, deviation = rows.mean(0), rows.std(0, correction=0).clamp(min=1e-6)
        z, label = (rows - mean) / deviation, y[y >= 0]
        centres = torch.full((len(network.classes), z.shape[1]), NEVER)
        for c in sorted(set(label.tolist())):
            centres[c] = z[label == c].mean(0)
        return cls(point, mean, deviation, centres)

    def scores(self, network: Denoises, x: Tensor) -> Tensor:
        """`[n, k]`, higher is likelier: minus the mean squared distance to each class mean."""
        z = (_read(network, x, self.point) - self.mean) / self.deviation
        return -torch.cdist(z, self.centres).square() / z.shape[1]

    def only(self, classes: Sequence[int]) -> Cheap:
        """Of these classes alone, in that order."""
        return Cheap(self.point, self.mean, self.deviation, self.centres[list(classes)])

    def save(self, folder: Path) -> None:
        """Write it beside its network."""
        arrays = {"mean": self.mean, "deviation": self.deviation, "centres": self.centres}
        checkpoint.save(arrays, folder / FILE, {"point": str(self.point)})


def load(folder: Path) -> Cheap:
    """What `save` wrote.

    Raises:
        ArtefactError: There is none, or it is damaged.
    """
    if not (folder / FILE).exists():
        raise ArtefactError(
            f"{folder} has no cheap head to make a shortlist with; pretrain with labels again, or "
            "leave shortlist out"
        )
    arrays, told = checkpoint.load(folder / FILE)
    try:
        point = Point.read(told["point"])
        return Cheap(point, arrays["mean"], arrays["deviation"], arrays["centres"])
    except KeyError:
        raise ArtefactError(f"{folder / FILE} is not what ilk writes; pretrain again") from None


def _read(network: Denoises, x: Tensor, point: Point) -> Tensor:
    """Features `[n, d]` float32."""
    taps = Taps(network)
    try:
        return features(taps, x, [point])
    finally:
        taps.close()
