"""The forms that many methods share."""

import numpy as np
import pytest

from ilk.core import linear_models
from ilk.core.contracts import Method, Model, labelled_features
from ilk.core.data import Data
from ilk.core.errors import InputError, NoLabels
from ilk.core.linear_models import Linear, NormalizedLinear, normalize_rows
from ilk.methods.gda import GDA


def test_far_from_zero_a_linear_model_keeps_its_digits():
    rng = np.random.default_rng(0)
    centre = 1e5 + rng.standard_normal(300)
    weight, bias = rng.standard_normal((4, 300)), rng.standard_normal(4)
    x = centre + rng.standard_normal((20, 300))
    want = (x - centre) @ weight.T + bias
    got = Linear.from_centred(centre, weight + 1e3, bias).logits(x)
    apart = lambda s: s - s.mean(1, keepdims=True)  # noqa: E731
    plain = Linear.from_arrays(weight, bias - weight @ centre).logits(x)
    error = np.abs(apart(got) - apart(want)).max()
    assert error < 1.0  # of scores about 17 apart: half a float32 step of the bias, 3e7
    assert error < 0.2 * np.abs(apart(plain) - apart(want)).max()


def test_work_cut_in_chunks_is_the_work(monkeypatch):
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((37, 5)), rng.standard_normal((3, 5)).astype(np.float32)
    bias = rng.standard_normal(3).astype(np.float32)
    monkeypatch.setattr(linear_models, "CHUNK_SIZE", 10)
    np.testing.assert_allclose(Linear(weight, bias).logits(x), x @ weight.T + bias)
    np.testing.assert_allclose(
        NormalizedLinear(weight, bias).logits(x), normalize_rows(x) @ weight.T + bias, rtol=1e-12
    )


def test_a_row_of_zeros_has_no_direction():
    assert (normalize_rows(np.zeros((2, 3))) == 0).all()
    np.testing.assert_allclose(np.linalg.norm(normalize_rows([[3.0, 4.0]]), axis=1), 1)


def test_what_can_be_learnt_from_is_labelled_vectors():
    x, y = np.zeros((4, 2), np.float64), [0, -1, 1, 0]
    known = labelled_features(Data(x, y, ("a", "b")), GDA())
    assert known.x.dtype == np.float32
    assert list(known.y) == [0, 1, 0]
    with pytest.raises(NoLabels, match="GDA learns from labels and there are none"):
        labelled_features(Data(x, [-1] * 4, ("a", "b")), GDA())
    with pytest.raises(InputError, match=r"GDA reads features .* encode the images first"):
        labelled_features(Data(np.zeros((4, 3, 8, 8)), y, ("a", "b")), GDA())


def test_methods_and_models_are_recognised_by_what_they_can_do():
    assert isinstance(GDA(), Method)
    assert isinstance(Linear.from_arrays(np.eye(2), np.zeros(2)), Model)
    assert not isinstance(object(), Model)
