"""Every order: which rows may be chosen, and that the choices are what the papers say."""

import numpy as np
import pytest

from ilk.core.errors import InputError, UnknownName
from ilk.core.linear_models import normalize_rows
from ilk.labelling.orders import DEFAULT, list_orders, parse_order
from ilk.labelling.orders.coverage import choose_greedily, compute_kernel
from ilk.labelling.orders.order import Pool


@pytest.fixture
def pool():
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], 40)
    x = normalize_rows(4 * np.eye(3, 8)[truth] + rng.standard_normal((120, 8)))
    y = np.full(120, -1)
    y[[0, 41]] = [0, 1]
    p = rng.dirichlet(np.ones(3), 120)
    can_ask = y < 0
    can_ask[100:] = False
    return Pool(x.astype(np.float32), y, can_ask, p)


@pytest.mark.parametrize("name", list_orders())
def test_every_order_asks_different_open_rows(name, pool):
    order = parse_order(name)
    for probabilities in (None, pool.probabilities):
        for count in (1, 12, 500):
            one = Pool(pool.x, pool.y, pool.can_ask, probabilities)
            rows = order.choose(one, count, 5)
            assert len(rows) == min(count, 98) == len(set(rows.tolist()))
            assert pool.can_ask[rows].all()
            np.testing.assert_array_equal(rows, order.choose(one, count, 5))
    nothing = Pool(pool.x, pool.y, np.zeros(120, bool), pool.probabilities)
    assert len(order.choose(nothing, 3, 0)) == 0
    unknown = Pool(pool.x, np.full(120, -1), np.ones(120, bool))
    assert len(order.choose(unknown, 3, 0)) == 3


@pytest.mark.parametrize("name", ["KMeansCentres", "MaxHerding", DEFAULT])
def test_coverage_asks_of_every_cluster_first(name):
    rng = np.random.default_rng(1)
    truth = np.repeat([0, 1, 2, 3], [120, 80, 60, 40])
    x = normalize_rows(8 * np.eye(4, 16)[truth] + rng.standard_normal((300, 16)))
    open_pool = Pool(x.astype(np.float32), np.full(300, -1), np.ones(300, bool))
    rows = parse_order(name).choose(open_pool, 4, 0)
    assert set(truth[rows]) == {0, 1, 2, 3}
    if name == "KMeansCentres":
        assert truth[rows].tolist() == [0, 1, 2, 3]  # the largest first
    y = np.full(300, -1)
    y[[0, 1, 130]] = [0, 0, 1]
    others = parse_order(name).choose(Pool(open_pool.x, y, y < 0), 2, 0)
    assert set(truth[others]) == {2, 3}  # those without a label


def test_the_first_question_is_the_most_typical_image():
    x = normalize_rows(np.random.default_rng(3).standard_normal((80, 6)) + 2 * np.eye(6)[1])
    [row] = parse_order("KMeansCentres").choose(
        Pool(x.astype(np.float32), np.full(80, -1), np.ones(80, bool)), 1, 0
    )
    assert row == np.linalg.norm(x - x.mean(0), axis=1).argmin()


def test_the_kernel_is_gaussian():
    x = normalize_rows(np.random.default_rng(3).standard_normal((5, 6)))
    squared = ((x[:, None] - x) ** 2).sum(2)
    for width in (0.5, 2.0):
        expected = np.exp(-squared / (2 * width**2))
        np.testing.assert_allclose(compute_kernel(x, x, width), expected, rtol=1e-4)


def test_small_margins_are_asked_of_each_cluster_in_turn():
    """One cluster has the ten smallest margins, and still only every other question."""
    x = np.repeat(np.eye(2, 4), 10, axis=0) + 0.01 * np.random.default_rng(0).random((20, 4))
    p = np.tile([0.55, 0.45], (20, 1))
    p[10:] = [0.6, 0.4]
    pool = Pool(x.astype(np.float32), np.full(20, -1), np.ones(20, bool), p)
    rows = parse_order("ClusterMargin(spread=10)").choose(pool, 2, 0)
    assert sorted(rows // 10) == [0, 1]
    assert rows[0] < 10  # the smallest margin comes first


def test_lazy_herding_is_greedy_herding(pool):
    """Second derivation: try every row at every step."""
    rng = np.random.default_rng(2)
    similarity = np.exp(pool.x @ pool.x.T - 1).astype(np.float32)
    covered = similarity[:, [0, 41]].max(1)
    weight = rng.random(120).astype(np.float32)
    for w in (None, weight):
        chosen = choose_greedily(similarity, covered, pool.can_ask, 10, w)
        state, expected = covered.astype(np.float64), []
        for _ in range(10):
            gain = [
                (np.maximum(similarity[i] - state, 0) * (1 if w is None else w)).sum()
                if pool.can_ask[i] and i not in expected
                else -1
                for i in range(120)
            ]
            expected.append(int(np.argmax(gain)))
            state = np.maximum(state, similarity[expected[-1]])
        assert chosen.tolist() == expected


def test_margins_come_from_what_the_model_is_unsure_of(pool):
    sure = np.tile([0.98, 0.01, 0.01], (120, 1))
    sure[[7, 30, 60]] = [0.4, 0.35, 0.25]
    rows = parse_order("ClusterMargin(spread=1)").choose(
        Pool(pool.x, pool.y, pool.can_ask, sure), 3, 0
    )
    assert set(rows.tolist()) == {7, 30, 60}


def test_wrong_orders_are_refused():
    with pytest.raises(UnknownName, match="no order is called"):
        parse_order("MaxHerdin")
    with pytest.raises(InputError, match="width is -1"):
        parse_order("MaxHerding(width=-1.0)")


@pytest.mark.parametrize("name", list_orders())
def test_images_that_look_alike_are_asked_too(name):
    """Copies: there are fewer different rows than clusters."""
    x = np.eye(3, 8, dtype=np.float32)[np.repeat([0, 1, 2], 7)]
    for n_labelled in (0, 1, 5):
        y = np.full(21, -1)
        y[:n_labelled] = 0
        rows = parse_order(name).choose(Pool(x, y, y < 0), 20, 0)
        assert len(set(rows.tolist())) == min(20, 21 - n_labelled)
