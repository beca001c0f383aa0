"""Binary codes whose Hamming distance follows the angle between rows.

Yunchao Gong, Svetlana Lazebnik, 2011, Iterative Quantization: A Procrustean Approach to Learning
Binary Codes, doi:10.1109/CVPR.2011.5995432. With V the projections of centred rows on the first
principal axes, a rotation R is sought with

    min |B - V R|_F^2,  B in {-1, 1}, R orthogonal

by turns: B = sign(V R), then R = U W' of the singular value decomposition U S W' of V' B.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Features

N_ITERATIONS = 50
ROTATION_ROWS = 8_192  # that the rotation is learned from, at random
WORD = 64  # bits

Codes = NDArray[np.uint64]


def fit_rotation(x: Features, bits: int, seed: int = 0) -> tuple[Features, Features]:
    """Return the mean `[d]` of rows and axes `[d, bits]` with `sign((x - mean) @ axes)` the code.

    Args:
        x: Rows, `[n, d]`; with fewer rows or features than bits, the other axes are random.
        bits: Length of the code.
        seed: Seed of the first rotation and of random axes.
    """
    rng = np.random.default_rng(seed)
    rows = np.asarray(x, np.float64)
    mean = rows.mean(0)
    rows = rows - mean
    _, vectors = np.linalg.eigh(rows.T @ rows)
    axes = vectors[:, ::-1][:, :bits]
    if axes.shape[1] < bits:  # more bits than features: random directions give further bits
        more = rng.normal(size=(rows.shape[1], bits - axes.shape[1]))
        axes = np.concatenate([axes, more / np.linalg.norm(more, axis=0)], 1)
    projected = (rows[rng.permutation(len(rows))[:ROTATION_ROWS]] @ axes).astype(np.float32)
    rotation, _ = np.linalg.qr(rng.normal(size=(bits, bits)))
    for _ in range(N_ITERATIONS):
        code = np.sign(projected @ rotation.astype(np.float32))
        left, _, right = np.linalg.svd((projected.T @ code).astype(np.float64))
        rotation = left @ right
    return mean.astype(np.float32), (axes @ rotation).astype(np.float32)


def quantization_error(projected: NDArray[Any], rotation: NDArray[Any]) -> float:
    """Return the mean of `|sign(V R) - V R|^2` over rows of V `[n, b]`, with R `[b, b]`."""
    rotated = np.asarray(projected @ rotation, np.float64)
    return float(((np.where(rotated >= 0, 1.0, -1.0) - rotated) ** 2).sum(1).mean())


def encode_signs(x: Features, mean: Features, axes: Features) -> Codes:
    """Return the codes of rows `[n, d]`, 64 bits per word, `[n, ceil(bits / 64)]`."""
    positive = (np.asarray(x, np.float32) - mean) @ axes >= 0
    spare = -positive.shape[1] % WORD
    packed = np.packbits(np.pad(positive, ((0, 0), (0, spare))), axis=1)
    return np.ascontiguousarray(packed).view(np.uint64)


def count_differing(code: Codes, codes: Codes) -> NDArray[np.uint16]:
    """Return the Hamming distance of one code `[w]` to codes `[n, w]`, as `[n]`."""
    total: NDArray[np.uint16] = np.bitwise_count(codes[:, 0] ^ code[0]).astype(np.uint16)
    for word in range(1, codes.shape[1]):
        total += np.bitwise_count(codes[:, word] ^ code[word])
    return total
