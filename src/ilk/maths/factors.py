"""A class as a Gaussian that is cheap to keep: its mean, a few loadings, and what they leave over.

    x = mean + loadings' z + spread * e,   z [r] and e [d] standard normal

The loadings are the first principal directions times their standard deviations, and the spread is
each feature's own, so that every feature keeps its variance (Tipping, Bishop, 1999,
doi:10.1111/1467-9868.00196, there with one spread for all).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.maths.axes import principal

Matrix = NDArray[np.float64]


def kept(x: NDArray[Any], latents: int) -> Matrix:
    """Mean, loadings and spread of rows `x [n, d]`, one under the other: `[latents + 2, d]`.

    Signs of loadings are settled by their largest number, so that the same rows always give the
    same; loadings that n rows do not have are 0.
    """
    out = np.zeros((latents + 2, x.shape[1]))
    out[0] = x.mean(0, dtype=np.float64)
    if len(x) < 2:
        return out
    axes = principal(x)
    basis = axes.basis[:, :latents]
    signs = np.sign(basis[np.abs(basis).argmax(0), np.arange(basis.shape[1])])
    out[1 : 1 + basis.shape[1]] = (basis * signs * np.sqrt(axes.squares[:latents] / len(x))).T
    rest = x.var(0, dtype=np.float64) - np.sum(out[1:-1] ** 2, axis=0)
    out[-1] = np.sqrt(np.maximum(rest, 0))
    return out


def drawn(held: Matrix, spread: Matrix, n: int, rng: np.random.Generator) -> Matrix:
    """`n` rows `[n, d]` of a class that `kept` gave, with `spread [d]` in place of its own."""
    z, e = rng.standard_normal((n, len(held) - 2)), rng.standard_normal((n, len(spread)))
    return np.asarray(held[0] + z @ held[1:-1] + spread * e)


def pooled(memory: NDArray[Any], counts: NDArray[Any]) -> Matrix:
    """Variance of each feature within a class, `[d]`, over `memory [k, latents + 2, d]`.

    Classes weigh by their `counts [k]`. Where no class has two rows, a hundredth of the mean
    variance between them.
    """
    seen = counts > 0
    share = counts[seen] / counts.sum()
    within = share @ np.sum(memory[seen, 1:].astype(np.float64) ** 2, axis=1)
    if within.any():
        return np.asarray(within)
    return np.full(within.shape, 0.01 * float(memory[seen, 0].var(0, dtype=np.float64).mean()))
