"""Average precision at R against a loop, and the matrix of versions of known compatibility."""

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes

from ilk.core.errors import InputError
from ilk.maths.compatibility import fit_rotation, measure_compatibility, measure_retrieval


def make_versions(seed=0, n=40, e=5):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 4, n)
    good = rng.standard_normal((4, e))[y] + 0.8 * rng.standard_normal((n, e))
    return good, good + 0.4 * rng.standard_normal((n, e)), y


def test_average_precision_at_r_is_that_of_a_loop():
    new, old, y = make_versions()
    y[0] = 9  # alone in its class
    values = measure_retrieval(new, old, y)
    assert np.isnan(values[0])
    unit = old / np.linalg.norm(old, axis=1, keepdims=True)
    for q in range(1, len(y)):
        order = [j for j in np.argsort(-(unit @ new[q])) if j != q]
        r = int((y == y[q]).sum()) - 1
        hits = [y[j] == y[q] for j in order[:r]]
        expected = sum(np.mean(hits[: i + 1]) for i in range(r) if hits[i]) / r
        assert values[q] == pytest.approx(expected)


def test_a_rotated_version_is_incompatible_until_it_is_rotated_back():
    good, worse, y = make_versions(1)
    turn = np.linalg.qr(np.random.default_rng(2).standard_normal((5, 5)))[0]
    turned = good @ turn
    c = measure_compatibility([worse, turned], y)
    assert c[1, 1] > c[0, 0] > c[1, 0] + 0.2
    back = fit_rotation(turned, good)
    np.testing.assert_allclose(turned @ back, good, atol=1e-9)
    assert measure_compatibility([worse, turned @ back], y)[1, 0] > c[0, 0] - 0.02
    unit = [z / np.linalg.norm(z, axis=1, keepdims=True) for z in (worse, turned)]
    np.testing.assert_allclose(
        fit_rotation(worse, turned), orthogonal_procrustes(*unit)[0], atol=1e-9
    )


def test_versions_of_other_widths_are_refused():
    with pytest.raises(InputError, match="same width"):
        measure_retrieval(np.ones((3, 2)), np.ones((3, 4)), np.zeros(3, np.int64))
    assert np.isnan(measure_retrieval(np.eye(2), np.eye(2), np.arange(2))).all()


def test_rows_of_the_matrix_are_queries_and_columns_are_indexes():
    new, old, y = make_versions(3)
    c = measure_compatibility([old, new], y)
    assert c[1, 0] == pytest.approx(np.nanmean(measure_retrieval(new, old, y)))
    assert c[0, 1] == pytest.approx(np.nanmean(measure_retrieval(old, new, y)))
    assert c[0, 1] != c[1, 0]
