"""Class embeddings tuned on pseudo-labels: what names get wrong, even boards put right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ilk.core.data import Data
from ilk.core.errors import InputError
from ilk.core.linear_models import normalize_rows
from ilk.methods.grip import GRIP
from ilk.methods.zero_shot import ZeroShot


def make_data(n: int = 240, seed: int = 0) -> Data:
    """Four classes about the axes; the name of the second fits the first better than its own."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 4
    x = np.eye(6)[y] + 0.25 * rng.normal(size=(n, 6))
    names = np.eye(6)[:4]
    names[0] = 0.4 * names[0] + 0.9 * np.eye(6)[4]
    names[1] += np.eye(6)[0]
    x, names = x.astype(np.float32), names.astype(np.float32)
    return Data(x, np.full(n, -1), tuple("abcd"), class_embeddings=names)


def score(method: GRIP | ZeroShot, data: Data) -> np.ndarray:
    """Accuracy of each class."""
    answers = method.fit(data).logits(data.x).argmax(1)
    truth = np.arange(len(data)) % 4
    return np.array([np.mean(answers[truth == c] == c) for c in range(4)])


def test_even_boards_put_right_what_names_get_wrong() -> None:
    data = make_data()
    names, tuned = score(ZeroShot(), data), score(GRIP(scale=20), data)
    assert names.min() < 0.6
    assert tuned.min() > 0.75
    assert tuned.std() < 0.5 * names.std()


def test_few_rows_per_class_help_in_one_round_and_in_ten() -> None:
    data = make_data()
    for method in (GRIP(size=16, rounds=1, scale=20), GRIP(size=16, scale=20)):
        assert score(method, data).mean() > score(ZeroShot(), data).mean() + 0.05


def test_without_steps_of_any_size_it_is_zero_shot() -> None:
    data = make_data()
    tuned = GRIP(lr=1e-9, rounds=2, steps=3).fit(data)
    assert np.allclose(tuned.logits(data.x), ZeroShot().fit(data).logits(data.x), atol=1e-3)


def test_class_embeddings_stay_unit_vectors() -> None:
    model = GRIP(rounds=2, steps=20, scale=30).fit(make_data())
    assert np.allclose(np.linalg.norm(model.weight, axis=1), 30, rtol=1e-5)


def test_labels_keep_their_word_against_pseudo_labels() -> None:
    """Labelled rows that swap two classes weigh as much as all pseudo-labels together."""
    data = make_data()
    truth = np.arange(len(data)) % 4
    some = np.arange(len(data)) < 40
    swapped = np.array([1, 0, 2, 3])[truth]
    y = np.where(some, swapped, -1)
    method = GRIP(scale=20, rounds=3)
    unlabelled = method.fit(replace(data, y=np.full(len(data), -1))).logits(data.x)
    both = method.fit(replace(data, y=y)).logits(data.x)
    mean_margin = [float((s[truth == 0, 1] - s[truth == 0, 0]).mean()) for s in (unlabelled, both)]
    assert mean_margin[1] > mean_margin[0]


def test_the_same_seed_gives_the_same_model() -> None:
    data = make_data()
    a, b, c = (GRIP(rounds=2, steps=5, seed=s).fit(data).weight for s in (0, 0, 1))
    assert np.array_equal(a, b)
    # All rows are one batch here, so the order cannot matter beyond rounding.
    assert np.allclose(a, c, atol=1e-3)
    assert np.allclose(normalize_rows(a), normalize_rows(c), atol=1e-4)


def test_wrong_settings_are_refused() -> None:
    for wrong in ({"size": 0}, {"rounds": 0}, {"steps": 0}, {"lr": 0.0}, {"scale": np.inf}):
        with pytest.raises(ValueError, match="must be"):
            GRIP(**wrong)
    with pytest.raises(InputError, match="try ZeroShot"):
        GRIP().fit(make_data().take([]))
