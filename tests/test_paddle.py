"""Soft k-means about the labelled rows: against loops, its objective, and without queries."""

import numpy as np
import pytest

from ilk.data import Data
from ilk.methods.nearest_mean import NearestClassMean
from ilk.methods.paddle import Paddle
from ilk.metrics import softmax
from ilk.unlabelled.transduction import MOST, UNTOLD, Sphere, gaussian_em


def task(seed=0, d=6, k=6, shots=4, present=(0, 1), queries=60, apart=1.6):
    """Some labelled rows of each class, and queries of a few classes: what to learn from, truth."""
    rng = np.random.default_rng(seed)
    means = apart * rng.standard_normal((k, d)) * np.sqrt(6 / d)
    y = np.repeat(np.arange(k), shots)
    truth = rng.choice(present, queries)
    x = means[np.append(y, truth)] + rng.standard_normal((len(y) + queries, d)) * np.sqrt(6 / d)
    names = tuple(f"kind {c}" for c in range(k))
    order = rng.permutation(len(x))
    told = np.append(y, np.full(queries, -1))
    whole = np.append(y, truth)[order]
    data = Data(x[order].astype(np.float32), told[order], names)
    return data, whole[data.y < 0]


def looped(data, t, balance, rounds):
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
    t = Sphere.of(data, None).sharpness()
    got = Paddle(balance, rounds=3, guard=False).fit(data).logits(data.x)
    want = looped(data, t, balance, 3)
    np.testing.assert_allclose(got - got[:, :1], want - want[:, :1], rtol=1e-4, atol=1e-4)


def test_its_objective_never_rises():
    data, _ = task(present=(0, 1, 2), apart=1.0)
    sphere, last = Sphere.of(data, None), np.inf
    n, balance, t = len(sphere.free), 1.5, 8.0
    far = lambda x, w: np.sum((x[:, None] - w) ** 2, axis=2)  # noqa: E731
    for rounds in range(12):
        steps = (balance,) * rounds, (1.0,) * rounds
        w, v = gaussian_em(sphere, t, *steps)
        u = softmax(sphere.scores(t, w, balance * v), axis=1)
        share = np.maximum(u.mean(0), 1e-300)
        cost = 0.5 * t * (np.sum(u * far(sphere.free, w)))
        cost += 0.5 * t * np.sum(far(sphere.known, w)[np.arange(len(sphere.y)), sphere.y])
        cost += np.sum(u * np.log(np.maximum(u, 1e-300)))
        cost -= balance * n * np.sum(share * np.log(share))
        assert cost <= last + 1e-9
        last = cost


def test_without_unlabelled_rows_it_is_the_nearest_class_mean():
    data, _ = task()
    known = data.labelled()
    for method in (Paddle(), Paddle(guard=False)):
        got = method.fit(known).logits(data.x)
        want = NearestClassMean().fit(known).logits(data.x)
        got, want = got - got[:, :1], want - want[:, :1]
        np.testing.assert_allclose(got / got[0, 1], want / want[0, 1], rtol=1e-3, atol=1e-4)


def test_queries_of_few_classes_are_answered_better_and_the_balance_is_why():
    right = {"alone": [], "even": [], "learnt": []}
    for seed in range(12):
        data, truth = task(seed)
        x = data.unlabelled().x
        for name, method, train in (
            ("alone", Paddle(), data.labelled()),
            ("even", Paddle(balance=0.0, guard=False), data),
            ("learnt", Paddle(guard=False), data),
        ):
            right[name].append(np.mean(method.fit(train).logits(x).argmax(1) == truth))
    mean = {name: np.mean(values) for name, values in right.items()}
    assert mean["learnt"] > mean["alone"] + 0.03
    assert mean["learnt"] > mean["even"] + 0.03


def test_the_order_of_rows_does_not_matter():
    data, _ = task()
    order = np.random.default_rng(1).permutation(len(data))
    one, other = (Paddle(guard=False).fit(d).logits(data.x) for d in (data, data.rows(order)))
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_rows_in_fewer_coordinates_have_the_same_inner_products():
    data, _ = task(d=300)
    sphere = Sphere.of(data, None)
    small, basis = sphere.reduced()
    assert small.free.shape[1] == len(data) < 300
    np.testing.assert_allclose(small.free @ small.means.T, sphere.free @ sphere.means.T, atol=1e-10)
    np.testing.assert_allclose(small.known @ basis.T, sphere.known, atol=1e-10)
    assert Sphere.of(task(d=3)[0], None).reduced()[1] is None


def test_sharpness_has_bounds_where_rows_tell_little():
    data, _ = task(shots=1)
    assert Sphere.of(data, None).sharpness() == UNTOLD
    apart = Data(np.eye(4, 9)[[0, 0, 1, 1, 2, 2]], [0, 0, 1, 1, 2, 2], ("a", "b", "c"))
    assert UNTOLD < Sphere.of(apart, None).sharpness() <= MOST


def test_rows_are_scored_without_themselves():
    data, _ = task(shots=3)
    sphere = Sphere.of(data, None)
    for i in range(len(sphere.y)):
        others = np.arange(len(sphere.y)) != i
        own = sphere.known[others & (sphere.y == sphere.y[i])].mean(0)
        want = sphere.known[i] @ own - own @ own / 2
        assert sphere.left_out()[i, sphere.y[i]] == pytest.approx(want, abs=1e-6)
        cosine = sphere.known[i] @ own / np.linalg.norm(own)
        assert sphere.left_out(unit=True)[i, sphere.y[i]] == pytest.approx(cosine - 0.5, abs=1e-6)


def test_one_class_is_answered_with_that_class():
    data, _ = task(k=1, present=(0,))
    model = Paddle(guard=False).fit(data)
    assert (model.logits(data.x).argmax(1) == 0).all()
    assert np.isfinite(model.logits(data.x)).all()
    assert np.isfinite(Paddle().fit(data).logits(data.x)).all()


@pytest.mark.parametrize("fields", [{"balance": -1.0}, {"balance": np.inf}, {"rounds": 0}])
def test_hyperparameters_out_of_range_are_refused(fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        Paddle(**fields)
