"""Rules in place of a black box: planted features are found, rules count right, changes flip."""

import numpy as np
import pytest

from ilk.core.errors import InputError
from ilk.explain import feature_probes
from ilk.explain.feature_probes import (
    find_correlated_groups,
    probe_features,
    probe_gradient,
    probe_permutation,
    probe_removal,
)
from ilk.explain.rules import Condition, Rule, find_smallest_change
from ilk.explain.surrogate import explain_with_rules


def draw(n=400, d=30, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


def planted(x):
    """A box: 1 where feature 3 is above 0.5 and feature 17 is at most 0.8, by labels alone."""
    return np.where((x[:, 3] > 0.5) & (x[:, 17] <= 0.8), "inside", "outside")


def soft(x):
    """Probabilities of a linear score of features 4, 9 and 21."""
    z = 2 * x[:, 4] - 3 * x[:, 9] + x[:, 21]
    p = 1 / (1 + np.exp(-z.astype(np.float64)))
    return np.column_stack([1 - p, p])


def test_planted_features_come_first_and_rules_restate_the_box():
    told = explain_with_rules(planted, draw())
    assert set(told.selected[:2].tolist()) == {3, 17}
    assert len(told.selected) <= 3
    assert told.measure_fidelity(planted, draw(4000, seed=1)) > 0.98
    inside = max((r for r in told.rules if r.label == "inside"), key=lambda r: r.support)
    (first, second) = (c for c in inside.conditions if c.feature in (3, 17))
    assert first.low == pytest.approx(0.5, abs=0.05)
    assert second.high == pytest.approx(0.8, abs=0.05)
    assert "feature 3 > 0.5" in told.to_text() or "feature 3 > 0.4" in told.to_text()


def test_exactly_one_rule_applies_and_its_counts_are_those_of_the_rows():
    x = draw()
    told = explain_with_rules(soft, x, k=3)
    held = np.stack([rule.holds(draw(500, seed=2)) for rule in told.rules])
    np.testing.assert_array_equal(held.sum(0), 1)
    labels = soft(x).argmax(1)
    assert sum(rule.support for rule in told.rules) == len(x)
    for rule in told.rules:
        rows = [
            i
            for i in range(len(x))
            if all(c.low < x[i, c.feature] <= c.high for c in rule.conditions)
        ]
        assert rule.support == len(rows)
        assert rule.coverage == pytest.approx(len(rows) / len(x))
        assert rule.precision == pytest.approx(np.mean(labels[rows] == rule.label))
        row = x[rows[0]]
        assert told.find_rule(row) == rule
        assert told.predict(row[None])[0] == rule.label


def test_the_rules_are_the_tree():
    from sklearn.tree import DecisionTreeClassifier

    x = draw()
    told = explain_with_rules(soft, x, selected=[4, 9, 21], max_depth=4, seed=3)
    tree = DecisionTreeClassifier(max_depth=4, min_samples_leaf=3, random_state=3)
    tree.fit(x[:, [4, 9, 21]], soft(x).argmax(1))
    new = draw(1000, seed=5)
    np.testing.assert_array_equal(told.predict(new), tree.predict(new[:, [4, 9, 21]]))


def test_integrated_gradients_of_a_linear_score_are_weights_times_distances():
    x = draw(50, 6)
    weight = np.array([0.0, 1.0, -2.0, 0.0, 0.5, 0.0])

    def linear(rows):  # the second column is always the answer
        z = rows.astype(np.float64) @ weight + 100
        return np.column_stack([np.zeros(len(z)), z])

    want = np.abs((x - x.mean(0)) * weight).mean(0)
    np.testing.assert_allclose(probe_gradient(linear, x), want, rtol=1e-3, atol=1e-4)


def test_permutation_and_removal_of_one_feature_by_hand():
    x = draw(60, 4)
    groups = np.arange(4)
    rng = np.random.default_rng(7)
    total = np.zeros(4)
    for _ in range(feature_probes.N_REPEATS):
        order = rng.permutation(60)
        for j in range(4):
            other = x.copy()
            other[:, j] = x[order, j]
            total[j] += np.abs(box(other)[:, 0] - box(x)[:, 0]).mean()
    np.testing.assert_allclose(
        probe_permutation(box, x, groups, 7), total / feature_probes.N_REPEATS, atol=1e-12
    )
    removed = x.copy()
    removed[:, 1] = x[:, 1].mean()
    assert probe_removal(box, x, groups)[1] == pytest.approx(
        np.abs(box(removed)[:, 0] - box(x)[:, 0]).mean()
    )


def box(x):
    p = 1 / (1 + np.exp(-(x[:, 0] + x[:, 1] * x[:, 2]).astype(np.float64)))
    return np.column_stack([p, 1 - p])


def test_blocks_change_nothing(monkeypatch):
    x = draw(40, 7)
    whole = probe_features(box, x)
    monkeypatch.setattr(feature_probes, "BLOCK_VALUES", 2 * x.size)
    for name, values in probe_features(box, x).items():
        np.testing.assert_allclose(values, whole[name], atol=1e-9)


def test_a_copy_does_not_hide_its_original():
    x = draw(300, 8)
    x[:, 5] = x[:, 2]

    def both(rows):  # either of the two copies suffices, so that one alone is of no use
        return (np.maximum(rows[:, 2], rows[:, 5]) > 0).astype(int)

    groups = find_correlated_groups(x)
    assert groups[2] == groups[5]
    assert len(set(groups.tolist())) == 7
    together = probe_permutation(both, x, groups)
    apart = probe_permutation(both, x, np.arange(8))
    assert together[2] == together[5] > 1.4 * apart[2]
    assert {2, 5} & set(explain_with_rules(both, x).selected[:2].tolist())


def test_a_counterfactual_is_the_nearest_and_flips_the_rule():
    x = draw()
    told = explain_with_rules(planted, x, k=2)
    for row in x[:20]:
        rule, change = told.explain_row(planted, row)
        assert told.predict(change.row[None])[0] == change.label != rule.label
        moved = np.abs(change.row - row) / told.scale
        assert change.cost == pytest.approx(moved.sum(), rel=1e-4)
        assert set(np.flatnonzero(moved).tolist()) == set(change.changed)
        assert change.flips_black_box == (planted(change.row[None])[0] == change.label)
        grid = np.random.default_rng(0).standard_normal((3000, 2)) * 1.5  # no random one is nearer
        others = np.repeat(row[None], len(grid), axis=0)
        others[:, [3, 17]] = grid
        flipped = told.predict(others) != rule.label
        distance = (np.abs(others - row) / told.scale).sum(1)
        assert (distance[flipped] >= change.cost - 0.01).all()
    assert "It would be" in told.describe_row(planted, x[0])


def test_a_black_box_that_gives_a_third_answer_does_not_agree():
    x = draw()
    told = explain_with_rules(planted, x, k=2)
    _, change = told.explain_row(lambda rows: np.full(len(rows), "elsewhere"), x[0])
    assert not change.flips_black_box


def test_a_threshold_that_rounding_hits_is_passed():
    low = float(np.nextafter(np.float32(1e6), np.float32(np.inf)))
    rule = Rule((Condition(0, low=low),), "b", 1, 1.0, 1.0)
    changed, _, _ = find_smallest_change(np.zeros(1), [rule], "a", np.array([1e-6]))
    assert rule.holds(changed[None])[0]


def test_a_box_of_one_answer_has_one_rule_and_no_counterfactual():
    told = explain_with_rules(lambda x: np.zeros(len(x), int), draw(50, 4))
    assert len(told.rules) == 1
    assert told.rules[0].coverage == 1.0
    assert told.explain_row(lambda x: np.zeros(len(x), int), draw(1, 4)[0])[1] is None
    assert told.to_text().startswith("always -> 0")


def test_the_number_of_features_is_chosen_on_rows_that_the_tree_has_not_seen():
    """One answer in four is arbitrary, which a tree of more features would only learn by heart."""
    rng = np.random.default_rng(4)
    x = rng.standard_normal((300, 20)).astype(np.float32)

    def answer(rows):
        is_odd = np.floor(1e4 * np.abs(rows).sum(1)) % 4 == 0
        return ((rows[:, 0] > 0) ^ is_odd).astype(np.int64)

    told = explain_with_rules(answer, x, seed=0)
    assert 0 in told.selected
    assert len(told.selected) <= 3


@pytest.mark.parametrize(
    ("predict", "x", "options", "message"),
    [
        (planted, draw()[0], {}, "have shape"),
        (planted, draw() * np.nan, {}, "not all finite"),
        (planted, draw(6), {}, "too few"),
        (planted, draw(), {"k": 31}, "from 1 to 30"),
        (planted, draw(), {"names": ["a"]}, "1 names for 30 features"),
        (planted, draw(), {"selected": [3, 3]}, "different positions"),
        (lambda x: np.zeros(3), draw(), {}, "one label"),
        (lambda x: np.full((len(x), 2), np.nan), draw(), {}, "not finite"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_sentence(predict, x, options, message):
    with pytest.raises(InputError, match=message):
        explain_with_rules(predict, x, **options)


def test_integrated_gradients_of_a_square_are_exact():
    x = draw(40, 3)
    weight = np.array([1.0, 0.0, 2.0])

    def square(rows):
        z = (rows.astype(np.float64) ** 2) @ weight + 100
        return np.column_stack([np.zeros(len(z)), z])

    want = np.abs((x.astype(np.float64) ** 2 - x.mean(0).astype(np.float64) ** 2) * weight).mean(0)
    np.testing.assert_allclose(probe_gradient(square, x), want, rtol=1e-3, atol=1e-4)
