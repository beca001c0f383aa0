"""A head on features: a network in training, plain arrays afterwards, with the same answers."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression as Sklearn
from sklearn.preprocessing import StandardScaler

from ilk.data import Data
from ilk.training.heads import BATCH, Head, batch, cross_entropy, fitted, steps
from ilk.training.loop import Recipe


def digits(step=3):
    x, y = load_digits(return_X_y=True)
    data = Data(x.astype(np.float32), y, tuple(map(str, range(10))))
    tested = np.arange(len(x)) % step == 0
    return data.rows(~tested), data.rows(tested)


def test_the_model_says_what_the_network_says():
    train, test = digits()
    net = Head.of(train, 32, seed=1)
    with torch.no_grad():
        told = net(batch(net, test).x)
    np.testing.assert_allclose(net.model().logits(test.x), told.numpy(), atol=1e-5)
    with torch.no_grad():
        hidden = net.hidden(batch(net, test).x)
    np.testing.assert_allclose(net.model().hidden(test.x), hidden.numpy(), atol=1e-5)


def test_features_are_standardised_and_a_constant_one_does_no_harm():
    train, _ = digits()
    net = Head.of(train, 8)
    theirs = StandardScaler().fit_transform(train.x.astype(np.float64))
    constant = train.x.std(0) == 0
    assert constant.any()
    np.testing.assert_allclose(batch(net, train).x[:, ~constant], theirs[:, ~constant], atol=1e-4)
    assert not batch(net, train).x[:, constant].any()


def test_training_beats_a_linear_rule_on_digits():
    train, test = digits()
    recipe = Recipe(steps(len(train), 30), BATCH, 4e-3, 20)
    model = fitted(Head.of(train, 256), train, cross_entropy, recipe).model()
    ours = np.mean(model.logits(test.x).argmax(1) == test.y)
    theirs = Sklearn(max_iter=2000).fit(train.x / 16, train.y).score(test.x / 16, test.y)
    assert ours > theirs


def test_a_class_without_rows_is_never_answered_and_rows_without_label_do_not_teach():
    train, test = digits()
    known = train.y != 4
    hidden = replace(train, y=np.where(known, train.y, -1))
    recipe = Recipe(50, 64, 4e-3, 5)
    model = fitted(Head.of(hidden, 32), hidden, cross_entropy, recipe).model()
    logits = model.logits(test.x)
    assert np.isneginf(logits[:, 4]).all()
    assert np.isfinite(np.delete(logits, 4, 1)).all()


def test_an_objective_is_told_which_rows_it_sees():
    train, _ = digits()
    net, seen = Head.of(train, 8), []

    def watch(net, part, generator):
        whole = batch(net, train)
        assert torch.equal(part.x, whole.x[part.at])
        assert torch.equal(part.y, whole.y[part.at])
        seen.append(part.at)
        return cross_entropy(net, part, generator)

    fitted(net, train, watch, Recipe(len(train) // 100 + 1, 100, 1e-3, 0))
    assert set(torch.cat(seen).tolist()) == set(range(len(train)))


def test_weights_hang_on_the_seed_alone():
    train, _ = digits()
    torch.manual_seed(1)
    one = Head.of(train, 8, seed=3)
    torch.manual_seed(2)
    two, other = Head.of(train, 8, seed=3), Head.of(train, 8, seed=4)
    assert torch.equal(one.inner.weight, two.inner.weight)
    assert not torch.equal(one.inner.weight, other.inner.weight)


@pytest.mark.parametrize(("n", "passes", "told"), [(10, 1, 200), (25_600, 10, 1000)])
def test_steps_go_over_the_rows_so_many_times(n, passes, told):
    assert steps(n, passes) == told
