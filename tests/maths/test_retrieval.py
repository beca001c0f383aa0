"""Retrieval scores against brute force over orders, and scikit-learn for groupings."""

from itertools import permutations

import numpy as np
import pytest
from sklearn.metrics import adjusted_mutual_info_score, normalized_mutual_info_score

from ilk.maths import retrieval
from ilk.maths.retrieval import (
    ami,
    average_precision,
    bootstrap_classes,
    map_at_r,
    nmi,
    r_precision,
    recall_at_k,
    score_retrieval,
    score_similarities,
)


def make_rows(n=40, k=5, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(k, size=n)
    return rng.normal(size=(n, 6)) + np.eye(6)[y], y


def rank_others(x, y, i):
    """Whether each other row is of row i's class, from the nearest to the farthest."""
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    others = [j for j in range(len(x)) if j != i]
    others.sort(key=lambda j: -float(unit[i] @ unit[j]))
    return [bool(y[j] == y[i]) for j in others]


def test_scores_are_those_of_the_definitions():
    x, y = make_rows()
    hits, rp, ap = [], [], []
    for i in range(len(x)):
        found = rank_others(x, y, i)
        r = sum(found)
        hits.append(any(found[:3]))
        rp.append(sum(found[:r]) / r)
        ap.append(sum(sum(found[: j + 1]) / (j + 1) for j in range(r) if found[j]) / r)
    assert recall_at_k(x, y, 3) == pytest.approx(np.mean(hits))
    assert r_precision(x, y) == pytest.approx(np.mean(rp))
    assert map_at_r(x, y) == pytest.approx(np.mean(ap))


def test_a_query_is_not_in_its_own_gallery():
    x = np.eye(4)  # every row is nearest to itself, and equally far from all others
    y = np.array([0, 0, 1, 1])
    assert recall_at_k(x, y) == pytest.approx(1 / 3)
    assert np.isnan(recall_at_k(x, np.arange(4)))  # all are alone in their class


def test_a_query_alone_in_its_class_counts_nowhere():
    x, y = make_rows()
    y[0] = 99
    scores = score_retrieval(x, y)
    assert np.isnan(scores.ap_at_r[0])
    assert np.isnan(scores.recall[0, 0])
    assert np.isfinite(map_at_r(x, y))


def test_map_at_r_is_not_divided_by_hits():
    similarity = np.array([[3.0, 2.0, 1.0, 0.0]])
    relevant = np.array([[True, False, True, False]])
    scores = score_similarities(similarity, relevant)
    assert scores.ap_at_r[0] == pytest.approx(0.5)  # R = 2: precision 1 at rank 1, rank 2 missed
    assert scores.r_precision[0] == pytest.approx(0.5)


@pytest.mark.parametrize("seed", range(6))
def test_ties_are_the_mean_over_all_orders(seed):
    rng = np.random.default_rng(seed)
    m = 6
    similarity = rng.integers(3, size=m).astype(float)
    relevant = rng.random(m) < 0.5
    relevant[0] = True
    r = int(relevant.sum())
    ap_at_r, full, hit_2 = [], [], []
    for order in permutations(range(m)):
        order = sorted(order, key=lambda j: -similarity[j])  # stable: ties as in the permutation
        found = [relevant[j] for j in order]
        terms = [sum(found[: i + 1]) / (i + 1) if found[i] else 0 for i in range(m)]
        ap_at_r.append(sum(terms[:r]) / r)
        full.append(sum(terms) / r)
        hit_2.append(any(found[:2]))
    scores = score_similarities(similarity[None], relevant[None], k=(2,))
    assert scores.ap_at_r[0] == pytest.approx(np.mean(ap_at_r))
    assert average_precision(similarity[None], relevant[None])[0] == pytest.approx(np.mean(full))
    assert scores.recall[0, 0] == pytest.approx(np.mean(hit_2))


def test_average_precision_without_ties_is_that_of_scikit_learn():
    from sklearn.metrics import average_precision_score

    rng = np.random.default_rng(1)
    similarity, relevant = rng.normal(size=(4, 30)), rng.random((4, 30)) < 0.3
    expected = [average_precision_score(r, s) for r, s in zip(relevant, similarity, strict=True)]
    np.testing.assert_allclose(average_precision(similarity, relevant), expected)


def test_a_cut_off_average_precision_can_reach_one():
    similarity = np.array([[4.0, 3.0, 2.0, 1.0]])
    relevant = np.array([[True, True, False, True]])
    assert average_precision(similarity, relevant, 2)[0] == 1
    assert average_precision(similarity, relevant)[0] == pytest.approx((1 + 1 + 3 / 4) / 3)


def test_queries_in_blocks_have_the_same_scores(monkeypatch):
    x, y = make_rows()
    groups = np.arange(len(x)) // 2
    whole = score_retrieval(x, y, groups=groups)
    monkeypatch.setattr(retrieval, "BLOCK_VALUES", 7 * len(x))
    parts = score_retrieval(x, y, groups=groups)
    np.testing.assert_allclose(parts.ap_at_r, whole.ap_at_r)
    np.testing.assert_array_equal(parts.recall, whole.recall)


def test_a_gallery_apart_from_the_queries():
    x, y = make_rows()
    scores = score_retrieval(x, y, x, y)
    assert np.all(scores.recall[0] == 1)  # each query finds itself there


def test_the_order_of_rows_does_not_matter():
    rng = np.random.default_rng(3)
    x, y = np.sign(rng.normal(size=(60, 8))), np.sort(rng.integers(4, size=60))
    order = rng.permutation(60)
    assert map_at_r(x, y) == pytest.approx(map_at_r(x[order], y[order]))


@pytest.mark.parametrize("seed", range(4))
def test_agreement_is_that_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    y = rng.integers(4, size=80)
    groups = np.where(rng.random(80) < 0.6, y, rng.integers(7, size=80))
    assert nmi(groups, y) == pytest.approx(normalized_mutual_info_score(y, groups))
    assert ami(groups, y) == pytest.approx(adjusted_mutual_info_score(y, groups), abs=1e-9)


def test_random_groups_have_no_adjusted_information():
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=400)
    groups = [rng.integers(40, size=400) for _ in range(20)]
    assert abs(np.mean([ami(g, y) for g in groups])) < 0.01
    assert np.mean([nmi(g, y) for g in groups]) > 0.04  # why ami stands beside it


def test_equal_and_single_groups():
    y = np.array([0, 0, 1, 2])
    assert nmi(y + 5, y) == ami(y + 5, y) == pytest.approx(1)
    assert ami(np.zeros(4, int), np.zeros(4, int)) == 1
    assert nmi(np.zeros(4, int), y) == 0


def test_the_interval_is_over_classes():
    y = np.repeat(np.arange(4), 500)
    values = np.repeat([0.0, 0.2, 0.8, 1.0], 500)
    mean, low, high = bootstrap_classes(values, y)
    assert mean == pytest.approx(0.5)
    assert high - low > 0.5  # four classes; 2,000 images would give about 0.04
    # of two classes the mean is 0, 1/2 or 1, with probabilities 1/4, 1/2 and 1/4
    two = np.array([0, 0, 1, 1])
    assert bootstrap_classes(two.astype(float), two, level=0.6)[1:] == (0, 1)
    assert bootstrap_classes(two.astype(float), two, level=0.4)[1:] == (0.5, 0.5)
    assert np.isnan(bootstrap_classes(np.full(4, np.nan), np.arange(4))[0])


def test_rows_of_the_querys_group_are_not_in_its_gallery():
    x, y = make_rows()
    copies, groups = np.concatenate([x, x]), np.tile(np.arange(len(x)), 2)
    both = np.concatenate([y, y])
    assert recall_at_k(copies, both) == 1  # every row finds its copy
    scores = score_retrieval(copies, both, groups=groups)
    assert scores.recall[0].mean() == pytest.approx(recall_at_k(x, y), abs=0.02)
    alone = score_retrieval(x, y, groups=np.full(len(x), -1))
    np.testing.assert_array_equal(alone.ap_at_r, score_retrieval(x, y).ap_at_r)
