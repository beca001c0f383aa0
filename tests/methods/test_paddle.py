"""Soft k-means about the labelled rows: against loops, its objective, and without queries."""

import numpy as np
import pytest

from helpers.few_shot_task import task
from ilk.core.data import Data
from ilk.core.metrics import softmax
from ilk.methods.nearest_mean import NearestClassMean
from ilk.methods.paddle import PADDLE
from ilk.transduction.gaussian_em import (
    DEFAULT_INVERSE_TEMPERATURE,
    MAX_INVERSE_TEMPERATURE,
    UnitRows,
    run_gaussian_em,
)


def paddle_with_loops(data, t, balance, rounds):
    """The equations, one number at a time."""
    known = data.y >= 0
    centre = data.x[known].astype(float).mean(0)
    rows = [(x - centre) / np.linalg.norm(x - centre) for x in data.x.astype(float)]
    support = [(r, c) for r, c in zip(rows, data.y, strict=True) if c >= 0]
    queries = [r for r, c in zip(rows, data.y, strict=True) if c < 0]
    w = [np.mean([r for r, c in support if c == k], axis=0) for k in range(data.k)]
    v = [0.0] * data.k

    def scores(r):
        return np.array([-t * np.sum((r - w[k]) ** 2) / 2 + balance * v[k] for k in range(data.k)])

    for _ in range(rounds):
        u = [np.exp(scores(r)) / np.exp(scores(r)).sum() for r in queries]
        for k in range(data.k):
            own = [r for r, c in support if c == k]
            top = sum(own) + sum(u[n][k] * queries[n] for n in range(len(queries)))
            w[k] = top / (len(own) + sum(p[k] for p in u))
        v = [np.log(max(1e-6, np.mean([p[k] for p in u]))) for k in range(data.k)]
    return np.stack([scores(r) for r in rows])


@pytest.mark.parametrize(("d", "balance"), [(6, 1.0), (6, 0.3), (200, 1.0)])
def test_scores_are_those_of_loops(d, balance):
    data, _ = task(d=d, apart=1.6 if d == 6 else 0.5)
    t = UnitRows.from_data(data, None).fit_inverse_temperature()
    got = PADDLE(balance, n_iter=3, guard=False).fit(data).logits(data.x)
    want = paddle_with_loops(data, t, balance, 3)
    np.testing.assert_allclose(got - got[:, :1], want - want[:, :1], rtol=1e-4, atol=1e-4)


def test_its_objective_never_rises():
    data, _ = task(present=(0, 1, 2), apart=1.0)
    sphere, last = UnitRows.from_data(data, None), np.inf
    n, balance, t = len(sphere.unlabelled), 1.5, 8.0
    far = lambda x, w: np.sum((x[:, None] - w) ** 2, axis=2)  # noqa: E731
    for rounds in range(12):
        steps = (balance,) * rounds, (1.0,) * rounds
        w, v = run_gaussian_em(sphere, t, *steps)
        u = softmax(sphere.score_unlabelled(t, w, balance * v), axis=1)
        share = np.maximum(u.mean(0), 1e-300)
        cost = 0.5 * t * (np.sum(u * far(sphere.unlabelled, w)))
        cost += 0.5 * t * np.sum(far(sphere.labelled, w)[np.arange(len(sphere.y)), sphere.y])
        cost += np.sum(u * np.log(np.maximum(u, 1e-300)))
        cost -= balance * n * np.sum(share * np.log(share))
        assert cost <= last + 1e-9
        last = cost


def test_without_unlabelled_rows_it_is_the_nearest_class_mean():
    data, _ = task()
    known = data.take_labelled()
    for method in (PADDLE(), PADDLE(guard=False)):
        got = method.fit(known).logits(data.x)
        want = NearestClassMean().fit(known).logits(data.x)
        got, want = got - got[:, :1], want - want[:, :1]
        np.testing.assert_allclose(got / got[0, 1], want / want[0, 1], rtol=1e-3, atol=1e-4)


def test_queries_of_few_classes_are_answered_better_and_the_balance_is_why():
    right = {"alone": [], "even": [], "learnt": []}
    for seed in range(12):
        data, truth = task(seed)
        x = data.take_unlabelled().x
        for name, method, train in (
            ("alone", PADDLE(), data.take_labelled()),
            ("even", PADDLE(balance=0.0, guard=False), data),
            ("learnt", PADDLE(guard=False), data),
        ):
            right[name].append(np.mean(method.fit(train).logits(x).argmax(1) == truth))
    mean = {name: np.mean(values) for name, values in right.items()}
    assert mean["learnt"] > mean["alone"] + 0.03
    assert mean["learnt"] > mean["even"] + 0.03


def test_the_order_of_rows_does_not_matter():
    data, _ = task()
    order = np.random.default_rng(1).permutation(len(data))
    one, other = (PADDLE(guard=False).fit(d).logits(data.x) for d in (data, data.take(order)))
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_rows_in_fewer_coordinates_have_the_same_inner_products():
    data, _ = task(d=300)
    sphere = UnitRows.from_data(data, None)
    small, basis = sphere.project_to_span()
    assert small.unlabelled.shape[1] == len(data) < 300
    np.testing.assert_allclose(
        small.unlabelled @ small.means.T, sphere.unlabelled @ sphere.means.T, atol=1e-10
    )
    np.testing.assert_allclose(small.labelled @ basis.T, sphere.labelled, atol=1e-10)
    assert UnitRows.from_data(task(d=3)[0], None).project_to_span()[1] is None


def test_sharpness_has_bounds_where_rows_tell_little():
    data, _ = task(shots=1)
    assert UnitRows.from_data(data, None).fit_inverse_temperature() == DEFAULT_INVERSE_TEMPERATURE
    apart = Data(np.eye(4, 9)[[0, 0, 1, 1, 2, 2]], [0, 0, 1, 1, 2, 2], ("a", "b", "c"))
    fitted = UnitRows.from_data(apart, None).fit_inverse_temperature()
    assert DEFAULT_INVERSE_TEMPERATURE < fitted <= MAX_INVERSE_TEMPERATURE


def test_rows_are_scored_without_themselves():
    data, _ = task(shots=3)
    sphere = UnitRows.from_data(data, None)
    for i in range(len(sphere.y)):
        others = np.arange(len(sphere.y)) != i
        own = sphere.labelled[others & (sphere.y == sphere.y[i])].mean(0)
        want = sphere.labelled[i] @ own - own @ own / 2
        assert sphere.score_left_out()[i, sphere.y[i]] == pytest.approx(want, abs=1e-6)
        cosine = sphere.labelled[i] @ own / np.linalg.norm(own)
        assert sphere.score_left_out(normalize=True)[i, sphere.y[i]] == pytest.approx(
            cosine - 0.5, abs=1e-6
        )


def test_one_class_is_answered_with_that_class():
    data, _ = task(k=1, present=(0,))
    model = PADDLE(guard=False).fit(data)
    assert (model.logits(data.x).argmax(1) == 0).all()
    assert np.isfinite(model.logits(data.x)).all()
    assert np.isfinite(PADDLE().fit(data).logits(data.x)).all()


@pytest.mark.parametrize("fields", [{"balance": -1.0}, {"balance": np.inf}, {"n_iter": 0}])
def test_out_of_range_hyperparameters_are_rejected(fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        PADDLE(**fields)
