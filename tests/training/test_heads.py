"""A head on features: a network in training, plain arrays afterwards, with the same answers."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression as Sklearn
from sklearn.preprocessing import StandardScaler

from ilk.core.data import Data
from ilk.training.heads import BATCH_SIZE, Head, count_steps, cross_entropy, fit_head, make_batch
from ilk.training.trainer import Recipe


def digits(step=3):
    x, y = load_digits(return_X_y=True)
    data = Data(x.astype(np.float32), y, tuple(map(str, range(10))))
    tested = np.arange(len(x)) % step == 0
    return data.take(~tested), data.take(tested)


def test_the_model_says_what_the_network_says():
    train, test = digits()
    net = Head.from_data(train, 32, seed=1)
    with torch.no_grad():
        told = net(make_batch(net, test).x)
    np.testing.assert_allclose(net.to_model().logits(test.x), told.numpy(), atol=1e-5)
    with torch.no_grad():
        hidden = net.compute_hidden(make_batch(net, test).x)
    np.testing.assert_allclose(net.to_model().compute_hidden(test.x), hidden.numpy(), atol=1e-5)


def test_features_are_standardised_and_a_constant_one_does_no_harm():
    train, _ = digits()
    net = Head.from_data(train, 8)
    theirs = StandardScaler().fit_transform(train.x.astype(np.float64))
    constant = train.x.std(0) == 0
    assert constant.any()
    np.testing.assert_allclose(
        make_batch(net, train).x[:, ~constant], theirs[:, ~constant], atol=1e-4
    )
    assert not make_batch(net, train).x[:, constant].any()


def test_training_beats_a_linear_rule_on_digits():
    train, test = digits()
    recipe = Recipe(count_steps(len(train), 30), BATCH_SIZE, 4e-3, 20)
    model = fit_head(Head.from_data(train, 256), train, cross_entropy, recipe).to_model()
    ours = np.mean(model.logits(test.x).argmax(1) == test.y)
    theirs = Sklearn(max_iter=2000).fit(train.x / 16, train.y).score(test.x / 16, test.y)
    assert ours > theirs


def test_a_class_without_rows_is_never_answered_and_rows_without_label_do_not_teach():
    train, test = digits()
    known = train.y != 4
    hidden = replace(train, y=np.where(known, train.y, -1))
    recipe = Recipe(50, 64, 4e-3, 5)
    model = fit_head(Head.from_data(hidden, 32), hidden, cross_entropy, recipe).to_model()
    logits = model.logits(test.x)
    assert np.isneginf(logits[:, 4]).all()
    assert np.isfinite(np.delete(logits, 4, 1)).all()


def test_an_objective_is_told_which_rows_it_sees():
    train, _ = digits()
    net, seen = Head.from_data(train, 8), []

    def watch(net, part, generator):
        whole = make_batch(net, train)
        assert torch.equal(part.x, whole.x[part.indices])
        assert torch.equal(part.y, whole.y[part.indices])
        seen.append(part.indices)
        return cross_entropy(net, part, generator)

    fit_head(net, train, watch, Recipe(len(train) // 100 + 1, 100, 1e-3, 0))
    assert set(torch.cat(seen).tolist()) == set(range(len(train)))


def test_weights_hang_on_the_seed_alone():
    train, _ = digits()
    torch.manual_seed(1)
    one = Head.from_data(train, 8, seed=3)
    torch.manual_seed(2)
    two, other = Head.from_data(train, 8, seed=3), Head.from_data(train, 8, seed=4)
    assert torch.equal(one.hidden_layer.weight, two.hidden_layer.weight)
    assert not torch.equal(one.hidden_layer.weight, other.hidden_layer.weight)


@pytest.mark.parametrize(("n", "passes", "told"), [(10, 1, 200), (25_600, 10, 1000)])
def test_steps_go_over_the_rows_so_many_times(n, passes, told):
    assert count_steps(n, passes) == told
