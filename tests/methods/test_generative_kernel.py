"""Kernel ridge regression on generated rows: the regression, the generator, the order of tasks."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.metrics.pairwise import linear_kernel

from ilk.core.data import Data, one_hot
from ilk.methods.fine_tuning import FineTuning
from ilk.methods.generative_kernel import GenerativeKernel, _contrastive_loss, _iterate_ridge_path
from ilk.protocols import class_tasks
from ilk.training.continual import count_bytes, run_steps

NAMES = tuple("abcd")


def draw(n=200, d=8, seed=0, apart=1.5):
    rng, world = np.random.default_rng(seed), np.random.default_rng(9)
    means, mix = apart * world.standard_normal((4, d)), world.standard_normal((4, d, d)) / 3
    y = rng.permutation(np.arange(n) % 4)
    noise = np.einsum("nd,nde->ne", rng.standard_normal((n, d)), mix[y])
    return Data((means[y] + noise).astype(np.float32), y, NAMES)


@pytest.mark.parametrize("level", [1e-3, 1.0])
def test_the_regression_is_ridge_and_kernel_ridge(level):
    data = draw(60)
    z, targets = data.x.astype(float), one_hot(data.y, 4)
    weight, bias = next(_iterate_ridge_path(z, targets, np.array([level])))
    centred = z - z.mean(0)
    alpha = level * np.mean(np.linalg.svd(centred, compute_uv=False) ** 2)
    want = Ridge(alpha).fit(z, targets)
    np.testing.assert_allclose(z @ weight.T + bias, want.predict(z), atol=1e-6)
    kernel = linear_kernel(centred)
    dual = np.linalg.solve(kernel + alpha * np.eye(60), targets - targets.mean(0))
    np.testing.assert_allclose(z @ weight.T + bias, kernel @ dual + targets.mean(0), atol=1e-6)


def test_tasks_in_every_order_give_the_machine_of_the_whole():
    data, method = draw(), GenerativeKernel(samples_per_class=30)
    whole = method.fit(data)
    for order in permutations("abcd"):
        model = method.fit(data.take_classes(order[0]))
        for name in order[1:]:
            model = method.update(model, data.take_classes(name))
        np.testing.assert_allclose(model.logits(data.x), whole.logits(data.x), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("latents", [0, 3, 20])
def test_what_is_generated_has_the_mean_and_variance_of_its_class(latents):
    data = draw(400)
    method = GenerativeKernel(n_factors=latents, samples_per_class=20_000)
    model = method.fit(data)
    x, y = method._generate_rows(model.class_factors, model.counts, NAMES)
    for c in range(4):
        rows, generated = data.x[data.y == c].astype(float), x[y == c]
        np.testing.assert_allclose(generated.mean(0), rows.mean(0), atol=0.06)
        np.testing.assert_allclose(generated.var(0), rows.var(0), rtol=0.1, atol=0.05)
        if latents >= 8:
            want = np.cov(rows.T, bias=True)
            np.testing.assert_allclose(np.cov(generated.T), want, atol=0.1)
    assert [int(np.sum(y == c)) for c in range(4)] == [20_000] * 4


def test_two_classes_do_not_share_their_draws():
    data, method = draw(), GenerativeKernel(n_factors=0, samples_per_class=50)
    model = method.fit(data)
    x, y = method._generate_rows(model.class_factors, model.counts, NAMES)
    noise = [(x[y == c] - x[y == c].mean(0)).ravel() for c in range(2)]
    assert abs(np.corrcoef(noise)[0, 1]) < 0.3


def test_stored_rows_cost_what_the_generator_costs_and_are_rows():
    data = draw()
    generated, stored = (
        GenerativeKernel(n_factors=3, store_rows=s).fit(data) for s in (False, True)
    )
    assert count_bytes(generated) == count_bytes(stored)
    for c in range(4):
        for row in stored.class_factors[c]:
            assert (data.x[data.y == c] == row).all(1).any()
    few = GenerativeKernel(n_factors=3, store_rows=True)
    three = data.take(np.concatenate([np.flatnonzero(data.y == c)[:3] for c in range(4)]))
    assert (
        len(few._generate_rows(few.fit(three).class_factors, few.fit(three).counts, NAMES)[0]) == 12
    )


def test_generated_rows_keep_more_than_as_many_bytes_of_rows_and_nothing_is_forgotten():
    gaps, data = [], []
    for seed in range(6):
        train, test = draw(seed=seed, apart=0.8), draw(400, seed=50 + seed, apart=0.8)
        steps = list(class_tasks(train, test, [2, 2], seed))
        generated, stored, tuned = (
            run_steps(method, steps)[-1]
            for method in (
                GenerativeKernel(n_factors=0),
                GenerativeKernel(n_factors=0, store_rows=True),
                FineTuning(hidden=8, steps=40),
            )
        )
        gaps.append(generated.accuracy - stored.accuracy)
        data.append(generated.old_accuracy - tuned.old_accuracy)
    assert np.mean(gaps) > 0.05
    assert min(data) > 0.3


def test_more_rows_of_a_class_go_on_from_generated_ones():
    data = draw(800)
    method = GenerativeKernel(n_factors=8)
    half = method.fit(data.take(np.arange(400)))
    both = method.update(half, data.take(np.arange(400, 800)))
    np.testing.assert_array_equal(both.counts, data.count_labels())
    for c in range(4):
        rows = data.x[data.y == c].astype(float)
        np.testing.assert_allclose(both.class_factors[c, 0], rows.mean(0), atol=0.25)
        spread = np.sum(both.class_factors[c, 1:].astype(float) ** 2, axis=0)
        np.testing.assert_allclose(spread, rows.var(0), rtol=0.35, atol=0.05)


def test_classes_weigh_by_their_rows():
    data = draw()
    more = np.concatenate([np.flatnonzero(data.y == c)[: 10 if c == 3 else 50] for c in range(4)])
    even, uneven = GenerativeKernel().fit(data), GenerativeKernel().fit(data.take(more))
    prior = uneven.bias - np.log(uneven.counts / uneven.counts.sum())
    assert np.ptp(prior - even.bias) < np.ptp(uneven.bias - even.bias)
    assert uneven.counts[3] == 10


@pytest.mark.parametrize("contrast", [0.0, 1.0])
def test_a_learned_kernel_predicts_and_can_be_updated(contrast):
    train, test = draw(), draw(seed=1)
    method = GenerativeKernel(hidden=16, contrastive_weight=contrast)
    last = run_steps(method, class_tasks(train, test, [2, 2], 0))[-1]
    assert last.accuracy > 0.8
    assert last.model.hidden_weight.shape == (16, 8)
    z = (test.x.astype(float) - last.model.centre) / last.model.scale
    hidden = np.maximum(z @ last.model.hidden_weight.T + last.model.hidden_bias, 0)
    want = hidden @ last.model.weight.T + last.model.bias
    np.testing.assert_allclose(last.model.logits(test.x), want, rtol=1e-6, atol=1e-6)


def test_the_contrastive_term_against_its_sum():
    rng = np.random.default_rng(0)
    h, y = rng.standard_normal((7, 3)), np.array([0, 0, 1, 1, 1, 2, 0])
    u = h / np.linalg.norm(h, axis=1, keepdims=True)
    s, terms = u @ u.T / 0.1, []
    for i in range(7):
        mates = [j for j in range(7) if j != i and y[j] == y[i]]
        below = np.log(sum(np.exp(s[i, j]) for j in range(7) if j != i))
        if mates:
            terms.append(-np.mean([s[i, j] - below for j in mates]))
    got = _contrastive_loss(torch.tensor(h), torch.tensor(y))
    assert float(got) == pytest.approx(np.mean(terms))
    alone = torch.tensor(h, requires_grad=True)
    _contrastive_loss(alone, torch.arange(7)).backward()
    assert torch.isfinite(alone.grad).all()


def test_the_contrastive_term_draws_classes_together():
    data = draw(apart=0.6)

    def apart(model):
        return float(_contrastive_loss(torch.tensor(model.transform(data.x)), torch.tensor(data.y)))

    plain, pulled = (
        GenerativeKernel(hidden=16, contrastive_weight=c).fit(data) for c in (0.0, 2.0)
    )
    assert apart(pulled) < apart(plain)


def test_invalid_values_and_other_classes_raise():
    data, method = draw(), GenerativeKernel(samples_per_class=20)
    model = method.fit(data)
    assert method.update(model, replace(data, y=np.full(len(data), -1))) is model
    with pytest.raises(ValueError, match="the model knows 4 classes, the data 5"):
        method.update(model, Data(data.x, data.y, (*NAMES, "e")))
    for name, value in (
        ("n_factors", -1),
        ("samples_per_class", 1),
        ("hidden", -1),
        ("contrastive_weight", -0.5),
    ):
        with pytest.raises(ValueError, match="must be at least"):
            GenerativeKernel(**{name: value})
