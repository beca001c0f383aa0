"""What is done to features before they are compared: a mean taken away, and a linear map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ilk.core.data import Features, Labels
from ilk.core.linear_models import CHUNK_SIZE
from ilk.maths.nearest_rows import to_unit


@dataclass(frozen=True, eq=False)
class Projection:
    """Unit rows `u` become `(u - centre) @ weight`, and unit rows again.

    Attributes:
        centre: `[d]` float32.
        weight: `[d, e]` float32.
    """

    centre: Features
    weight: Features

    def apply(self, x: Features) -> Features:
        """Return projected rows of length 1, `[n, e]`, of rows `[n, d]` of any length."""
        out = np.empty((len(x), self.weight.shape[1]), np.float32)
        for start in range(0, len(x), CHUNK_SIZE):
            block = slice(start, start + CHUNK_SIZE)
            centred = to_unit(x[block]) - self.centre
            out[block] = to_unit(np.asarray(centred @ self.weight, np.float32))
        return out


class ProjectionTags:
    """Base class of the projections in `ilk.retrieval.projections`."""

    needs_labels: ClassVar[bool] = True

    def fit(self, x: Features, y: Labels, /) -> Projection:
        """Return the projection learned from unit rows `[n, d]` and classes `[n]`."""
        raise NotImplementedError


def apply_projection(projection: Projection | None, x: Features) -> Features:
    """Return unit rows `[n, e]`, projected if there is a projection, of rows `[n, d]`."""
    return to_unit(x) if projection is None else projection.apply(x)
