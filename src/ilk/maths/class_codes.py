"""A hash code for each class, the codes as far apart as they can be.

Codes b_c of r bits, -1 or 1, minimize `sum_{c != c'} (b_c b_c')^2`, bit by bit from a random start:
the sign of a bit is the better one while all others stay. Codes of 0 correlation are as far apart
as those of many classes can be on average, half of the bits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SWEEPS, STARTS = 15, 8


def make_class_codes(k: int, bits: int, seed: int = 0) -> NDArray[np.float32]:
    """Return codes of -1 and 1, `[k, bits]`: the best of `STARTS` random starts.

    Args:
        k: Number of classes, >= 1.
        bits: Length of the codes, >= 1.
        seed: Seed of the starts.

    Raises:
        ValueError: If k or bits is below 1.
    """
    if k < 1 or bits < 1:
        raise ValueError(f"there are {k} classes and {bits} bits; each must be at least 1")
    rng = np.random.default_rng(seed)
    starts = rng.choice([-1.0, 1.0], (STARTS, k, bits))
    codes = [improve_codes(start) for start in starts]
    return min(codes, key=measure_correlation).astype(np.float32)


def measure_correlation(codes: NDArray[np.float64]) -> float:
    """Return the sum of squared inner products of different codes of `[k, bits]`."""
    gram = codes @ codes.T
    return float((gram**2).sum() - (np.diag(gram) ** 2).sum())


def improve_codes(codes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return codes `[k, bits]` in which no single bit can be turned for the better."""
    b = codes.copy()
    for _ in range(SWEEPS):
        before = b.copy()
        for c in range(len(b)):
            others = np.delete(b, c, 0)
            for j in range(b.shape[1]):
                rest = others @ b[c] - others[:, j] * b[c, j]
                # (rest + s other_j)^2 is least where s rest other_j is negative.
                slope = float(rest @ others[:, j])
                if slope:
                    b[c, j] = -np.sign(slope)
        if np.array_equal(before, b):
            break
    return b
