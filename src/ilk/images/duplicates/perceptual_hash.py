"""A 64-bit hash of what a picture looks like: nearly the same pictures differ in few bits.

Christoph Zauner, 2010, Implementation and Benchmarking of Perceptual Image Hash Functions, section
3.2.1 (DCT based hash): bit j is 1 where coefficient j of the discrete cosine transform of the grey
picture is above the median of all 64. Departures: the picture is reduced to 16 × 16 weighted means
(`ilk.images.inspection.pixel_summary`) rather than to 32 × 32 pixels after a mean filter, and the
coefficients are the 64 of lowest frequency besides the mean, by the sum of their two frequencies.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.images.inspection.pixel_summary import SIDE

N_BITS = 64
LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601

Thumbnails = NDArray[np.uint8]  # [n, SIDE, SIDE, 3]
Hashes = NDArray[np.uint64]  # [n]


def stack_thumbnails(thumbnails: list[bytes]) -> Thumbnails:
    """Return thumbnails as an array `[n, SIDE, SIDE, 3]`."""
    return np.frombuffer(b"".join(thumbnails), np.uint8).reshape(-1, SIDE, SIDE, 3)


def compute_hashes(thumbnails: Thumbnails) -> Hashes:
    """Return the perceptual hash of each thumbnail `[n, SIDE, SIDE, 3]`, as `[n]`."""
    grey = thumbnails.astype(np.float32) @ LUMINANCE
    basis = _make_cosines()
    spectrum = basis @ grey @ basis.T
    coefficients = spectrum[:, *_list_low_frequencies()]
    bits = coefficients > np.median(coefficients, axis=1, keepdims=True)
    packed = np.ascontiguousarray(np.packbits(bits, axis=1))
    return packed.view(">u8")[:, 0].astype(np.uint64)


def measure_contrast(thumbnails: Thumbnails) -> NDArray[np.float32]:
    """Return the standard deviation of the grey values of each thumbnail, `[n]`, in 0 to 128."""
    grey = thumbnails.astype(np.float32) @ LUMINANCE
    return np.asarray(grey.std(axis=(1, 2)), np.float32)


def count_differing_bits(first: Hashes, second: Hashes) -> NDArray[Any]:
    """Return the number of bits, 0 to 64, in which hashes `[n]` differ; shapes are broadcast."""
    return np.asarray(np.bitwise_count(first ^ second))


def _make_cosines() -> NDArray[np.float32]:
    """Return the orthonormal DCT-II as a matrix `[SIDE, SIDE]`, frequencies in rows."""
    frequency, position = np.mgrid[:SIDE, :SIDE]
    basis = np.cos(np.pi * frequency * (2 * position + 1) / (2 * SIDE)) * np.sqrt(2 / SIDE)
    basis[0] /= np.sqrt(2)
    return np.asarray(basis, np.float32)


def _list_low_frequencies() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return vertical and horizontal frequency of the `N_BITS` lowest ones besides (0, 0)."""
    vertical, horizontal = (axis.ravel() for axis in np.mgrid[:SIDE, :SIDE])
    order = np.lexsort((vertical, vertical + horizontal))[1 : N_BITS + 1]
    return vertical[order], horizontal[order]
