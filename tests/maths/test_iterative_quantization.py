"""Binary codes: what they are, and that the rotation is better than none."""

from __future__ import annotations

import numpy as np
import pytest

from ilk.maths.iterative_quantization import (
    count_differing,
    encode_signs,
    fit_rotation,
    quantization_error,
)
from ilk.retrieval.kinds.hash_codes import HashCodes


def draw(n: int = 600, d: int = 20) -> np.ndarray:
    rng = np.random.default_rng(1)
    return (rng.normal(size=(n, d)) * np.linspace(3, 0.1, d) + 2).astype(np.float32)


def test_codes_are_the_signs_and_distances_count_them() -> None:
    x = draw()
    for bits in (16, 64, 70):
        mean, axes = fit_rotation(x, bits)
        signs = (x - mean) @ axes >= 0
        codes = encode_signs(x, mean, axes)
        assert codes.shape == (600, -(-bits // 64))
        expected = (signs != signs[3]).sum(1)
        np.testing.assert_array_equal(count_differing(codes[3], codes), expected)


def test_axes_are_a_rotation_of_the_principal_axes() -> None:
    x = draw()
    _, axes = fit_rotation(x, 8)
    np.testing.assert_allclose(axes.T @ axes, np.eye(8), atol=1e-5)
    _, _, principal = np.linalg.svd(x - x.mean(0), full_matrices=False)
    span = principal[:8].T @ principal[:8]
    np.testing.assert_allclose(span @ axes, axes, atol=1e-4)


def test_the_rotation_lowers_the_error_of_rounding() -> None:
    x = draw()
    mean, axes = fit_rotation(x, 8)
    _, _, principal = np.linalg.svd(x - x.mean(0), full_matrices=False)
    projected = (x - mean) @ principal[:8].T
    rng = np.random.default_rng(3)
    others = [np.linalg.qr(rng.normal(size=(8, 8)))[0] for _ in range(20)]
    learned = quantization_error((x - mean) @ axes, np.eye(8))
    assert learned < min(quantization_error(projected, r) for r in [np.eye(8), *others])


def test_no_other_rotation_brings_the_rows_nearer_to_their_code() -> None:
    x = draw()
    mean, axes = fit_rotation(x, 8)
    rotated = ((x - mean) @ axes).astype(float)
    left, _, right = np.linalg.svd(rotated.T @ np.where(rotated >= 0, 1, -1))
    best = left @ right  # by Procrustes, for the code as it is
    learned = quantization_error(rotated, np.eye(8))
    assert quantization_error(rotated, best) == pytest.approx(learned, rel=1e-3)
    np.testing.assert_allclose(best, np.eye(8), atol=0.02)


def test_the_fraction_of_different_bits_gives_the_angle() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 24)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    rows = HashCodes(bits=256, rerank=0).start(24, x)
    rows.add(np.arange(400), x)
    ids, similarity = rows.search(x[:30], 400)
    true = np.take_along_axis(x[:30] @ x.T, ids, 1)
    assert np.abs(similarity - true).mean() < 0.1
    assert (similarity[:, 0] == 1).all()
    opposite = rows.search(-x[:5], 400)[1]
    assert (opposite[:, -1] < -0.95).all()
