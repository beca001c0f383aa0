"""Unrolled EM: numpy's layers against torch's, and learning that pays on its own tasks."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from helpers.few_shot_task import task
from ilk.core.data import Data
from ilk.core.errors import InputError
from ilk.core.metrics import log_loss, softmax
from ilk.methods import describe, parse
from ilk.methods.paddle import PADDLE
from ilk.methods.unem import (
    DEFAULT_WEIGHTS,
    UNEM,
    _draw_batches,
    _group_tasks,
    _stack_tasks,
    fit_unem,
    run_unrolled_em,
)
from ilk.protocols import Step, episodes

NONE = UNEM((1.0,) * 10, (1.0,) * 10, guard=False)  # maximum likelihood


def tasks(count=12, seed=0, queries=40, **options):
    x, y = load_digits(return_X_y=True)
    data = Data((x / 16).astype(np.float32), y, tuple("0123456789"))
    options = {"ways": 2, "n_classes": 6} | options
    return list(episodes(data, 3, queries, n_episodes=count, seed=seed, **options))


def loss(method, steps):
    answers = [softmax(method.fit(s.train).logits(s.test.x), axis=1) for s in steps]
    return np.mean([log_loss(s.test.y, p) for s, p in zip(steps, answers, strict=True)])


def test_layers_in_torch_are_the_layers_of_fit():
    rng = np.random.default_rng(0)
    balance, temper = rng.uniform(0.2, 2, 4), rng.uniform(0.5, 2, 4)
    steps = [*tasks(2), *tasks(1, queries=25), *tasks(1, ways=6)]  # of different lengths
    method = UNEM(tuple(balance.tolist()), tuple(temper.tolist()), guard=False)
    scores = run_unrolled_em(
        _stack_tasks(steps, method), torch.tensor(balance), torch.tensor(temper)
    )
    for step, got in zip(steps, scores.numpy(), strict=True):
        want = method.fit(step.train).logits(step.test.x)
        got = got[: len(want)]
        np.testing.assert_allclose(
            softmax(got, axis=1), softmax(want, axis=1), rtol=2e-3, atol=1e-4
        )


def test_equal_layers_are_paddle():
    data, _ = task()
    one = UNEM((1.3,) * 6, (1.0,) * 6, guard=False).fit(data).logits(data.x)
    other = PADDLE(1.3, n_iter=5, guard=False).fit(data).logits(data.x)
    np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)


def test_each_layer_has_its_own_weights():
    data, _ = task()
    base = UNEM((1.0,) * 3, (1.0,) * 3, guard=False)
    answers = [base.fit(data).logits(data.x)]
    for layer in range(3):
        temper = tuple(2.0 if at == layer else 1.0 for at in range(3))
        answers.append(replace(base, inverse_temperature=temper).fit(data).logits(data.x))
    for layer in (1, 2):  # the first layer knows no shares yet
        balance = tuple(2.0 if at == layer else 1.0 for at in range(3))
        answers.append(replace(base, balance=balance).fit(data).logits(data.x))
    for i, one in enumerate(answers):
        assert all(np.abs(one - other).max() > 1e-3 for other in answers[:i])


def test_without_unlabelled_rows_no_weight_matters():
    data, _ = task()
    known = data.take_labelled()
    mismatched = UNEM((3.0,) * 4, (5.0,) * 4)
    got, want = (m.fit(known).logits(data.x) for m in (mismatched, PADDLE()))
    np.testing.assert_array_equal(got, want)


def test_learning_pays_on_its_tasks_and_on_others_like_them():
    seen, unseen = tasks(15), tasks(15, seed=1)
    fitted = fit_unem(seen, NONE, epochs=10)
    assert loss(fitted, seen) < loss(NONE, seen) - 0.05
    assert loss(fitted, unseen) < loss(NONE, unseen)
    assert fitted != NONE
    assert not fitted.guard
    assert all(w > 0 for w in (*fitted.balance, *fitted.inverse_temperature))
    assert fitted == fit_unem(seen, NONE, epochs=10)
    assert parse(describe(fitted)) == fitted


@pytest.mark.parametrize(("ways", "least_gain"), [(2, 0.1), (6, 0.0)])
def test_the_default_weights_pay_on_uneven_and_on_even_queries(ways, least_gain):
    """Against maximum likelihood on digits, which they were not learned on."""
    steps = tasks(10, seed=2, ways=ways)
    assert loss(UNEM(guard=False), steps) < loss(NONE, steps) - least_gain


def test_the_file_of_default_weights_says_what_they_were_learned_on():
    assert UNEM().balance == tuple(DEFAULT_WEIGHTS["balance"])
    assert UNEM().inverse_temperature == tuple(DEFAULT_WEIGHTS["inverse_temperature"])
    assert DEFAULT_WEIGHTS["learned_with"] == "python -m benchmarks.few_labels.learn_unem"
    for source in DEFAULT_WEIGHTS["learned_on"]:
        assert "(MIT)" in source or "(CC BY 4.0)" in source


def test_tasks_of_several_numbers_of_classes_are_learned_together():
    mixed = [*tasks(20, n_classes=4), *tasks(20, ways=6)]
    fitted = fit_unem(mixed, NONE, epochs=8)
    assert loss(fitted, mixed) < loss(NONE, mixed) - 0.02
    assert fitted == fit_unem(mixed, NONE, epochs=8)
    batches = list(_draw_batches(_group_tasks(mixed, NONE), np.random.default_rng(0)))
    assert sorted(len(b["t"]) for b in batches) == [5, 5, 15, 15]
    assert sum(float(b["t"].sum()) for b in batches) == pytest.approx(
        sum(float(s["t"].sum()) for s in _group_tasks(mixed, NONE)), rel=1e-5
    )


def test_unlearnable_data_raises_input_error():
    good = tasks(2)
    with pytest.raises(InputError, match="there is no task to learn from"):
        fit_unem([])
    bare = Step(good[0].train.take_labelled(), good[0].test, good[0].test_rows)
    with pytest.raises(InputError, match="task 1 has 0 unlabelled rows, 40 test rows"):
        fit_unem([good[0], bare])
    hole = replace(good[0].train, y=np.where(good[0].train.y == 0, -1, good[0].train.y))
    with pytest.raises(InputError, match="labels for 5 of 6 classes"):
        fit_unem([Step(hole, hole.take_unlabelled(), good[0].test_rows)])


@pytest.mark.parametrize(
    ("balance", "temper", "match"),
    [
        ((1.0,), (1.0, 1.0), "balance has 1 entries and inverse_temperature 2"),
        ((), (), "balance has 0 entries and inverse_temperature 0"),
        ((-1.0,), (1.0,), "balance is"),
        ((1.0,), (0.0,), "inverse_temperature is"),
    ],
)
def test_out_of_range_hyperparameters_are_rejected(balance, temper, match):
    with pytest.raises(ValueError, match=match):
        UNEM(balance, temper)


def test_layers_with_large_weights_can_be_started_from():
    fitted = fit_unem(tasks(3), UNEM((100.0,) * 2, (100.0,) * 2, guard=False), epochs=1)
    assert np.isfinite([*fitted.balance, *fitted.inverse_temperature]).all()
