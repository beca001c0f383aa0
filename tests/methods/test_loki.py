"""Loki against a brute-force Fréchet mean, and on an ordered line of classes."""

from dataclasses import replace

import numpy as np
import pytest

from ilk.core.data import Data
from ilk.core.errors import InputError
from ilk.methods.loki import FrechetMeanClassifier, Loki, compute_class_distances, is_reachable

NAMES = ("a", "b", "c", "d", "e")


def line(seed=0, n=400, spread=0.5):
    """Five classes in a row: class c lies at c, in features and in hints."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 5, n)
    x = y[:, None] + spread * rng.standard_normal((n, 3))
    hints = np.arange(5, dtype=np.float32)[:, None]
    return Data(x.astype(np.float32), y, NAMES, class_embeddings=hints)


def without(data, *classes):
    return replace(data, y=np.where(np.isin(data.y, classes), -1, data.y))


def test_the_answer_is_where_the_expected_squared_distance_is_least():
    rng = np.random.default_rng(1)
    squares = rng.random((5, 3)).astype(np.float32)
    model = FrechetMeanClassifier(
        rng.random((3, 2)).astype(np.float32), np.zeros(3, np.float32), squares
    )
    x = rng.standard_normal((20, 2)).astype(np.float32)
    for row, result in zip(x, model.logits(x), strict=True):
        z = np.exp(row.astype(np.float64) @ model.weight.T + model.bias)
        p = z / z.sum()
        brute = [-sum(p[c] * squares[y, c] for c in range(3)) for y in range(5)]
        np.testing.assert_allclose(result, brute, rtol=1e-6)


def test_distances_are_those_between_hints_and_one_on_average():
    embeddings = np.random.default_rng(0).random((5, 7)).astype(np.float32)
    data = replace(line(), class_embeddings=embeddings)
    squares = compute_class_distances(data)
    h = data.class_embeddings.astype(np.float64)
    brute = np.array([[np.sum((a - b) ** 2) for b in h] for a in h])
    np.testing.assert_allclose(squares / squares[0, 1], brute / brute[0, 1], rtol=1e-9)
    assert squares[~np.eye(5, dtype=bool)].mean() == pytest.approx(1)
    assert not squares.diagonal().any()


def test_an_unseen_class_between_two_others_is_predicted():
    train, test = without(line(spread=1.2), 2), line(seed=1, spread=1.2)
    model = Loki().fit(train)
    predicted = model.logits(test.x).argmax(1)
    assert np.mean(predicted[test.y == 2] == 2) > 2 * np.mean(predicted[test.y != 2] == 2)
    assert np.mean(predicted[test.y == 2] == 2) > 0.2
    most_likely = np.array([0, 1, 3, 4])[model.predict_proba(test.x).argmax(1)]
    squares = compute_class_distances(test)
    assert squares[test.y, predicted].mean() < squares[test.y, most_likely].mean()


def test_low_temperature_predicts_the_most_likely_class():
    train, test = without(line(), 2), line(seed=1)
    model = Loki(temperature=1e-4).fit(train)
    most_likely = np.array([0, 1, 3, 4])[model.predict_proba(test.x).argmax(1)]
    assert np.mean(model.logits(test.x).argmax(1) == most_likely) > 0.99


def test_the_temperature_calibrates_probabilities_of_held_out_rows():
    heavy = line(spread=0.9)
    heavy = replace(heavy, x=np.sign(heavy.x) * np.abs(heavy.x) ** 1.5)
    test = replace(line(seed=2, spread=0.9))
    test = replace(test, x=np.sign(test.x) * np.abs(test.x) ** 1.5)

    def loss(temperature):
        p = Loki(temperature=temperature).fit(heavy).predict_proba(test.x)
        return -np.log(p[np.arange(len(test)), test.y]).mean()

    fitted_loss = -np.log(
        Loki().fit(heavy).predict_proba(test.x)[np.arange(len(test)), test.y]
    ).mean()
    assert fitted_loss < min(loss(0.25), loss(4.0))
    assert fitted_loss < loss(1.0) + 0.01


def test_reachable_classes_lie_between_the_seen_ones():
    """On a line, the classes between the first and last seen ones; checked against a grid."""
    places = np.array([0.0, 1.0, 2.0, 3.5, 6.0, 7.0])
    squares = (places[:, None] - places[[1, 4]]) ** 2
    np.testing.assert_array_equal(is_reachable(squares), [False, True, True, True, True, False])
    rng = np.random.default_rng(0)
    for _ in range(5):
        h = rng.standard_normal((7, 2))
        squares = np.sum((h[:, None] - h[:3]) ** 2, axis=2)
        p = rng.dirichlet(np.full(3, 0.7), 20000)
        walked = np.isin(np.arange(7), (p @ squares.T).argmin(1))
        assert not (walked & ~is_reachable(squares)).any()
        assert walked[:3].all()
        assert is_reachable(squares)[:3].all()
        assert (is_reachable(squares) & ~walked).sum() <= 1  # a cell too small to be walked into


def test_uninformative_hints_raise():
    with pytest.raises(InputError, match="all distances are equal to 0"):
        Loki().fit(replace(line(), class_embeddings=np.ones((5, 2), np.float32)))
    with pytest.raises(ValueError, match="temperature is -1"):
        Loki(temperature=-1.0)
    with pytest.raises(ValueError, match="folds is 1"):
        Loki(folds=1)


@pytest.mark.parametrize("spread", [0.3, 0.5])
def test_the_temperature_is_selected_for_unseen_classes(spread):
    """Twelve classes on a line, three held out: calibrated probabilities are far too sharp."""

    def twelve(seed):
        rng = np.random.default_rng(seed)
        y = rng.integers(0, 12, 900)
        x = y[:, None] + spread * rng.standard_normal((900, 3))
        names = tuple(str(c) for c in range(12))
        return Data(x.astype(np.float32), y, names, class_embeddings=np.arange(12.0)[:, None])

    train, test = without(twelve(0), 2, 5, 8), twelve(1)
    squares = compute_class_distances(test)

    def distance(temperature):
        predicted = Loki(temperature=temperature).fit(train).logits(test.x).argmax(1)
        return squares[test.y, predicted].mean()

    assert distance(None) < 0.6 * distance(1.0)
    assert distance(None) < 1.1 * min(distance(2.0), distance(4.0), distance(8.0))
