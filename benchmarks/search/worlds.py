"""Rows to be searched: simulated clusters of a stated intrinsic dimension, and real features."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Features
from ilk.maths.nearest_rows import to_unit

DIM, N_CLUSTERS, N_BASES, INTRINSIC = 768, 1000, 50, 24
SPREAD, NOISE = 0.7, 0.15  # of a cluster along its own axes and in all others, centres have 1
BLOCK = 20_000


class ClusteredRows:
    """Unit rows `u = v / |v|` in `DIM` dimensions: clusters that are flat discs with noise.

        v = m_c + SPREAD A_b z / sqrt(INTRINSIC) + NOISE e / sqrt(DIM),    z, e standard normal

    with 1,000 centres m_c of length about 1 and 50 orthonormal frames A_b of 24 axes, one per
    cluster; so a row has 24 degrees of freedom within its cluster, besides weak noise.
    """

    def __init__(self, seed: int) -> None:
        """Draw centres and frames."""
        self.rng = np.random.default_rng(seed)
        self.centres = self.rng.normal(size=(N_CLUSTERS, DIM)).astype(np.float32) / np.sqrt(DIM)
        frames = self.rng.normal(size=(N_BASES, DIM, INTRINSIC))
        self.frames = np.linalg.qr(frames)[0].astype(np.float32)

    def draw(self, n: int) -> Features:
        """Return n unit rows, `[n, DIM]`."""
        rng = self.rng
        cluster = rng.integers(N_CLUSTERS, size=n)
        x = rng.standard_normal((n, DIM), np.float32)
        x *= NOISE / np.sqrt(DIM)
        x += self.centres[cluster]
        z = rng.standard_normal((n, INTRINSIC), np.float32) * (SPREAD / np.sqrt(INTRINSIC))
        frame = cluster % N_BASES
        for b in range(N_BASES):
            rows = np.flatnonzero(frame == b)
            x[rows] += z[rows] @ self.frames[b].T
        return to_unit(x)

    def iterate(self, n: int) -> Iterator[Features]:
        """Yield n unit rows in blocks, `[b, DIM]`."""
        for start in range(0, n, BLOCK):
            yield self.draw(min(BLOCK, n - start))


def estimate_dimension(similarity: NDArray[np.float32]) -> float:
    """Return the intrinsic dimension by the ratio of the two nearest distances.

    Elena Facco and others, 2017, Estimating the intrinsic dimension of datasets by a minimal
    neighborhood information: with mu = d_2 / d_1, the maximum likelihood estimate is
    n / sum(log mu).

    Args:
        similarity: Cosine of queries with their two nearest rows, `[m, >= 2]`.
    """
    distance = np.sqrt(np.maximum(2 - 2 * similarity[:, :2].astype(np.float64), 1e-12))
    ratio = distance[:, 1] / distance[:, 0]
    return float(len(ratio) / np.log(np.maximum(ratio, 1 + 1e-9)).sum())
