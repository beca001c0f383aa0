"""`PretrainedHead` hands on what the encoder's own classifier says of the classes."""

import numpy as np
import pytest

from ilk.core.data import Data
from ilk.core.errors import InputError
from ilk.core.linear_models import Linear
from ilk.methods.pretrained_head import PretrainedHead


def test_labels_change_nothing():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((6, 3)).astype(np.float32)
    known = Linear(np.eye(2, 3, dtype=np.float32), np.zeros(2, np.float32))
    for y in ([0, 1, 0, 1, 0, 1], [1, 1, 0, 0, 1, 1], [-1] * 6):
        model = PretrainedHead().fit(Data(x, y, ("cat", "dog"), class_model=known))
        np.testing.assert_array_equal(model.logits(x), known.logits(x))


def test_without_an_encoder_that_knows_the_names_it_is_refused():
    with pytest.raises(InputError, match="an encoder that knows every class by name"):
        PretrainedHead().fit(Data(np.zeros((2, 3), np.float32), [0, 1], ("cat", "giraffe")))
