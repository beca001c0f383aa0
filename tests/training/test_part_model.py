"""Part models: parts and classes are learned, weights go to misused parts, and weights count."""

import numpy as np
import pytest
import torch
from torch import nn

from ilk.core.errors import InputError
from ilk.training import part_model
from ilk.training.part_model import Rounds, fit_part_model, weight_by_loss, weight_by_misattribution

GRAPH = np.array([[1, -1], [-1, 1], [-1, -1]])


def draw(n=160, seed=0):
    """Bars: a bright row, a bright column, or a bright corner, each a part; two classes."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    parts = np.stack([y == 0, y == 1, rng.random(n) < 0.5], axis=1)
    images = 0.2 * rng.standard_normal((n, 1, 5, 5))
    images[parts[:, 0], 0, 2, :] += 2
    images[parts[:, 1], 0, :, 2] += 2
    images[parts[:, 2], 0, 0, 0] += 3
    return torch.from_numpy(images.astype(np.float32)), parts, y


def make_network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(25, 3))


ROUNDS = Rounds(n_rounds=2, steps=60, head_steps=80, lr=2e-2)


def test_parts_and_classes_are_learned_and_described():
    images, parts, y = draw()
    model = fit_part_model(make_network(), images, parts, y, GRAPH, ROUNDS)
    new, new_parts, new_y = draw(200, 1)
    assert ((model.score_parts(new) > 0.5) == new_parts).mean() > 0.95
    assert (model.predict_proba(new).argmax(1) == new_y).mean() > 0.95
    values = model.explain(new)
    assert values.shape == (200, 3, 2)
    np.testing.assert_allclose(values.sum(2), 0, atol=1e-6)  # probabilities sum to 1
    background = model.classify_parts(model.background).mean(0)
    np.testing.assert_allclose(values.sum(1), model.predict_proba(new) - background, atol=1e-6)
    assert 0 <= model.measure_graph_distance(new) <= 6
    text = model.describe(new[0], ("bar", "pole", "corner"), ("low", "high"))
    assert text.startswith(("low (", "high ("))
    assert "speaks" in text


def test_weights_act_from_the_second_round_on_and_have_mean_1(monkeypatch):
    images, parts, y = draw()
    seen = []
    real = part_model._train_parts

    def watch(network, x, targets, weights, rounds, r):
        seen.append(weights)
        return real(network, x, targets, weights, rounds, r)

    monkeypatch.setattr(part_model, "_train_parts", watch)
    wanted = np.linspace(0.5, 1.5, len(y))
    model = fit_part_model(
        make_network(), images, parts, y, GRAPH, ROUNDS, lambda _a, _p, _y: wanted
    )
    np.testing.assert_array_equal(seen[0], 1.0)
    np.testing.assert_array_equal(seen[1], wanted)
    np.testing.assert_array_equal(model.weights, wanted)


def test_rows_of_weight_0_teach_nothing():
    """Half of the rows have wrong parts; without weight they do no harm."""
    images, parts, y = draw(300)
    wrong = parts.copy()
    wrong[::2] = ~parts[::2]
    rows = np.arange(len(y)) % 2 == 0

    def ignore(_a, _p, _y):
        return np.where(rows, 0.0, 2.0)

    new, new_parts, _ = draw(200, 1)
    accuracy = []
    for weighting in (ignore, lambda a, _p, _y: np.ones(len(a))):
        model = fit_part_model(
            make_network(), images, wrong, y, GRAPH, Rounds(3, 80, lr=2e-2), weighting
        )
        accuracy.append(((model.score_parts(new) > 0.5) == new_parts).mean())
    assert accuracy[0] > 0.9 > accuracy[1] + 0.1


def test_weightings_by_hand():
    alignment, y = np.array([[0.2, -0.5], [0.1, 0.3]]), np.array([0, 1])
    p = np.array([[0.9, 0.1], [0.6, 0.4]])
    raw = np.array([1.5, 0.9])
    got = weight_by_misattribution(1.0)(alignment, p, y)
    np.testing.assert_allclose(got, raw / raw.mean())
    raw = np.array([0.1 + 0.01, 0.1 + 0.36])
    np.testing.assert_allclose(weight_by_loss()(alignment, p, y), raw / raw.mean())


def test_arrays_that_do_not_fit_are_refused_in_one_sentence():
    images, parts, y = draw(20)
    with pytest.raises(InputError, match="20 images, 19 rows of parts"):
        fit_part_model(make_network(), images, parts[:19], y, GRAPH)
    with pytest.raises(InputError, match="the graph has shape"):
        fit_part_model(make_network(), images, parts, y, GRAPH[:2])
    with pytest.raises(InputError, match="labels run from"):
        fit_part_model(make_network(), images, parts, y + 1, GRAPH)
