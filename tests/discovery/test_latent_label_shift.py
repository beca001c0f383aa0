"""Classes out of domains: the algebra against brute force, and a world where only domains tell."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.cluster import KMeans

from ilk.core.data import Data
from ilk.core.errors import InputError
from ilk.core.linear_models import apply_affine
from ilk.discovery.latent_label_shift import (
    LatentLabelShift,
    fit_discriminator,
    match_columns,
    unmix_probabilities,
)

SHARES = np.array([[8, 1, 1, 3], [1, 8, 1, 4], [1, 1, 8, 3]]) / 10  # of classes in domains


def world(seed=0, n=600, misled=False):
    """Three classes apart along two features, in four domains; `misled` adds a louder feature."""
    rng = np.random.default_rng(seed)
    domain = np.repeat(np.arange(4), n)
    y = np.concatenate([rng.choice(3, n, p=SHARES[:, d]) for d in range(4)])
    centres = np.array([[3.0, 0], [-1.5, 2.6], [-1.5, -2.6]])
    x = centres[y] + rng.standard_normal((len(y), 2))
    if misled:
        x = np.column_stack([x, 40 * rng.choice([-1, 0, 1], len(y)) + rng.standard_normal(len(y))])
    return Data(x.astype(np.float32), y, ("a", "b", "c"), domain=domain)


def blind(data):
    return replace(data, y=np.full(len(data), -1))


def matched_accuracy(answer, data):
    order = match_columns(np.eye(3)[answer], data)
    return float(np.mean(order[data.y] == answer))


def test_mixtures_are_undone_as_least_squares_on_the_simplex_would():
    rng = np.random.default_rng(0)
    spread = rng.dirichlet(np.ones(5), 3).T
    p = rng.dirichlet(np.ones(5), 8)
    result = unmix_probabilities(p, spread)
    np.testing.assert_allclose(result.sum(1), 1)
    for row, ours in zip(p, result, strict=True):
        constraint = {"type": "eq", "fun": lambda w: w.sum() - 1}
        best = minimize(
            lambda w, row=row: np.sum((row - spread @ w) ** 2),
            np.full(3, 1 / 3),
            bounds=[(0, 1)] * 3,
            constraints=[constraint],
            options={"ftol": 1e-14},
        )
        assert np.sum((row - spread @ ours) ** 2) <= best.fun + 1e-3
    inside = rng.dirichlet(np.full(3, 5.0), 8)
    np.testing.assert_allclose(unmix_probabilities(inside @ spread.T, spread), inside, atol=0.03)


def test_the_discriminator_is_the_same_rule_on_raw_features():
    data = world()
    rule, p = fit_discriminator(data.x.astype(np.float64), data.domain, 0)
    np.testing.assert_allclose(p.sum(1), 1)
    result = apply_affine(data.x, rule.weight, rule.bias)
    assert np.mean(result.argmax(1) == p.argmax(1)) > 0.9  # one saw the row, the other did not
    two = data.take(data.domain < 2)
    rule, p = fit_discriminator(two.x.astype(np.float64), two.domain, 0)
    result = apply_affine(two.x, rule.weight, rule.bias)
    assert result.shape == (len(two), 2)
    assert np.mean(result.argmax(1) == p.argmax(1)) > 0.9


def test_it_finds_classes_and_shares_without_a_label():
    data = world()
    model = LatentLabelShift().fit(blind(data))
    assert matched_accuracy(model.predict_proba(data.x, data.domain).argmax(1), data) > 0.9
    order = match_columns(model.predict_proba(data.x), data)
    assert np.abs(model.class_priors[order] - SHARES).max() < 0.15
    np.testing.assert_allclose(model.class_priors.sum(0), 1)
    np.testing.assert_allclose(model.domain_given_class.sum(0), 1)


def test_it_is_not_misled_by_what_is_alike():
    data = world(misled=True)
    model = LatentLabelShift().fit(blind(data))
    ours = matched_accuracy(model.predict_proba(data.x, data.domain).argmax(1), data)
    theirs = matched_accuracy(KMeans(3, n_init=5, random_state=0).fit_predict(data.x), data)
    assert ours > 0.85 > 0.5 > theirs


def test_a_few_labels_name_the_columns():
    data = world()
    few = np.full(len(data), -1)
    few[:30] = data.y[:30]
    model = LatentLabelShift().fit(replace(data, y=few))
    assert np.mean(model.logits(data.x).argmax(1) == data.y) > 0.85


def test_predicting_with_the_domain_applies_bayes_rule():
    data = world()
    model = LatentLabelShift().fit(blind(data))
    p, result = model.predict_proba(data.x[:5]), model.predict_proba(data.x[:5], data.domain[:5])
    for i in range(5):
        joint = p[i] * model.domain_given_class[data.domain[i]]
        np.testing.assert_allclose(result[i], joint / joint.sum(), rtol=1e-9)


def test_the_same_seed_gives_the_same_model():
    one, two = (LatentLabelShift(seed=3).fit(blind(world())) for _ in range(2))
    np.testing.assert_array_equal(one.class_priors, two.class_priors)
    np.testing.assert_array_equal(one.weight, two.weight)


def test_indistinguishable_input_is_rejected():
    one = replace(blind(world()), domain=np.zeros(2400, np.int64))
    with pytest.raises(InputError, match="as many domains as classes"):
        LatentLabelShift().fit(one)
    with pytest.raises(InputError, match="2 bins are too few for 3"):
        LatentLabelShift(bins=2).fit(blind(world()))
    with pytest.raises(InputError, match="are too few for"):
        LatentLabelShift(bins=50).fit(blind(world(n=20)))


def test_domains_keep_the_names_that_the_data_give_them():
    data = world()
    renamed = replace(data, domain=10 * data.domain + 7)
    one, other = (LatentLabelShift().fit(blind(d)) for d in (data, renamed))
    np.testing.assert_array_equal(other.domains, [7, 17, 27, 37])
    some = np.flatnonzero(data.domain > 1)[::7]
    got = other.predict_proba(data.x[some], renamed.domain[some])
    np.testing.assert_array_equal(got, one.predict_proba(data.x[some], data.domain[some]))
    with pytest.raises(InputError, match="domain 3 is not one of the training domains"):
        other.predict_proba(data.x[:2], np.array([3, 7]))


def test_a_domain_of_one_row_and_no_rows_are_refused():
    data = world()
    domain = data.domain.copy()
    domain[5] = 9
    with pytest.raises(InputError, match="domain 9 has one row"):
        LatentLabelShift().fit(blind(replace(data, domain=domain)))
    with pytest.raises(InputError, match="there are none"):
        LatentLabelShift().fit(data.take([]))
    with pytest.raises(ValueError, match="bins is -1"):
        LatentLabelShift(bins=-1)


def test_priors_that_differ_little_are_found_as_well():
    """Random starts find other classes here: factorizations with the same error are many."""
    errors = []
    for seed in range(3):
        data = world(seed, n=1500)
        model = LatentLabelShift(seed=seed).fit(blind(data))
        order = match_columns(model.predict_proba(data.x), data)
        errors.append(np.abs(model.class_priors[order] - SHARES).max())
    assert max(errors) < 0.1


def test_fewer_occupied_bins_than_classes_are_refused():
    """All rows alike fall into one bin, and no factorization has three anchors there."""
    data = blind(world())
    with pytest.raises(InputError, match="bins"):
        LatentLabelShift().fit(replace(data, x=np.zeros_like(data.x)))
