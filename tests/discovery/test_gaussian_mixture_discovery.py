"""Splits and merges by evidence: what they keep, what they find, and what a move is weighed by."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import gammaln
from scipy.stats import multivariate_t

from ilk.core.data import Data
from ilk.core.errors import InputError
from ilk.discovery.gaussian_mixture_discovery import GaussianMixtureDiscovery
from ilk.maths.clustering_accuracy import clustering_accuracy
from ilk.maths.normal_inverse_wishart import GroupStatistics
from ilk.maths.split_merge import SplitMergeSearch


def world(new=3, known=3, rows=40, apart=6.0, dim=5, seed=0):
    """Gaussians of one shape: known classes with half their labels, then new ones."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(known + new), rows)
    x = apart * rng.standard_normal((known + new, dim))[truth]
    x += rng.standard_normal((len(truth), dim)) @ np.diag(np.linspace(0.5, 1.5, dim))
    y = np.where((truth < known) & (np.arange(len(truth)) % 2 == 0), truth, -1)
    return Data(x.astype(np.float32), y, tuple(f"kind {c}" for c in range(known))), truth


def search(new=3, power=None, **options):
    data, truth = world(new, **options)
    z = (data.x - data.x.mean(0)).astype(np.float64)
    state = SplitMergeSearch.from_labels(z, data.y, data.k, 0)
    return (state if power is None else replace(state, power=power)), truth


@pytest.mark.parametrize("start", [0, 3, 9])
def test_the_number_is_found_from_any_start(start):
    data, truth = world()
    model = GaussianMixtureDiscovery(n_start=start).fit(data)
    logits = model.logits(data.x)
    assert logits.shape == (len(data), 6)
    assert clustering_accuracy(truth, logits.argmax(1), 3).overall > 0.97
    assert model.group_counts[0] == 3 + start
    assert len(model.group_counts) > 3


def test_nothing_new_is_found_where_there_is_none():
    data, truth = world(new=0)
    logits = GaussianMixtureDiscovery().fit(data).logits(data.x)
    assert logits.shape == (len(data), 3)
    assert np.mean(logits.argmax(1) == truth) > 0.97


@pytest.mark.parametrize("new", [0, 1, 5])
def test_a_given_number_of_classes_is_used(new):
    data, _ = world()
    assert GaussianMixtureDiscovery(n_new=new).fit(data).logits(data.x).shape[1] == 3 + new


def test_a_number_is_kept_even_of_rows_that_are_alike():
    x = np.concatenate([world()[0].x[:60], np.zeros((4, 5), np.float32)])
    y = np.append(np.arange(60) // 20, np.full(4, -1))
    data = Data(x, y, ("a", "b", "c"))
    assert GaussianMixtureDiscovery(n_new=4).fit(data).logits(x).shape[1] == 7
    with pytest.raises(InputError, match="5 new classes need as many unlabelled rows"):
        GaussianMixtureDiscovery(n_new=5).fit(data)


def test_scores_are_log_shares_and_students():
    data, truth = world(new=0, rows=12)
    data = replace(data, y=truth)
    model = GaussianMixtureDiscovery(n_components=3).fit(data)
    z = (data.x - data.x.mean(0, dtype=np.float64)) @ model.basis
    state = SplitMergeSearch.from_labels(z, truth, 3, 0)
    for c in range(3):
        part, p = z[truth == c], state.prior
        n, kappa, nu = 12, p.kappa + 12, p.nu + 12
        mean = part.mean(0)
        psi = p.psi + n * np.cov(part.T, bias=True) + p.kappa * n / kappa * np.outer(mean, mean)
        scale = psi * (kappa + 1) / (kappa * (nu - 2))
        twin = np.log(n) + multivariate_t(n / kappa * mean, scale, df=nu - 2).logpdf(z)
        np.testing.assert_allclose(model.logits(data.x)[:, c], twin, rtol=1e-4)


def test_an_unseen_class_keeps_its_column_before_the_new_classes():
    data, truth = world()
    bare = Data(data.x, data.y, (*data.classes, "never"))
    logits = GaussianMixtureDiscovery().fit(bare).logits(data.x)
    assert logits.shape == (len(data), 7)
    assert np.isneginf(logits[:, 3]).all()
    assert clustering_accuracy(truth, logits.argmax(1), 3).overall > 0.97


def test_a_move_is_weighed_by_gamma_functions_and_evidence():
    state, truth = search(power=1.7)
    one = GroupStatistics.from_rows(state.z[truth > 4], np.zeros(40, int), 1)
    twin = 1.7 * gammaln(40) + state.prior.compute_log_evidence(one)
    np.testing.assert_allclose(state.score_groups(one), twin)


def test_moves_against_the_evidence_are_not_made():
    state, truth = search()
    for _ in range(50):  # a constant chance of a tenth would make some
        np.testing.assert_array_equal(state.split(truth), truth)
        np.testing.assert_array_equal(state.merge(truth), truth)


def test_moves_for_the_evidence_are_made():
    state, truth = search()
    drowned = np.where(truth == 5, 4, truth)
    assert clustering_accuracy(truth, state.split(drowned), 3).overall > 0.97
    torn = np.where((truth == 4) & (np.arange(len(truth)) % 2 == 0), 6, truth)
    np.testing.assert_array_equal(state.merge(torn), truth)


def test_known_classes_are_never_merged_and_labels_never_move():
    state, truth = search(new=1, apart=0.1)  # all in one place
    answer, _ = state.search(2)
    is_labeled = state.y >= 0
    np.testing.assert_array_equal(answer[is_labeled], state.y[is_labeled])
    np.testing.assert_array_equal(state.merge(truth)[is_labeled], state.y[is_labeled])


def test_the_best_clustering_found_is_returned():
    state, _ = search(apart=2.0)
    answer, path = state.search(6)
    worth = state.score_groups(state.compute_statistics(answer)).sum()
    for start in (0, 3):
        first = state.reassign_rows(state.run_kmeans(state.z, state.y, start), state.y, state.z)
        assert worth >= state.score_groups(state.compute_statistics(first)).sum()
    assert len(path) % 2 == 0


def test_the_power_keeps_known_classes_whole_and_new_ones_with_them():
    rng = np.random.default_rng(0)
    truth, style = np.repeat(np.arange(4), 60), np.arange(240) % 2  # two styles a class
    way = rng.standard_normal((4, 4))
    way *= np.array([4, 4, 4, 3])[:, None] / np.linalg.norm(way, axis=1, keepdims=True)
    z = 12 * rng.standard_normal((4, 4))[truth] + style[:, None] * way[truth]
    z += 0.4 * rng.standard_normal(z.shape)
    z -= z.mean(0)
    y = np.where((truth < 3) & (np.arange(240) % 4 < 2), truth, -1)
    state = SplitMergeSearch.from_labels(z, y, 3, 0)
    plain = replace(state, power=1.0)
    assert plain.search(3)[0].max() + 1 > 4 == state.search(3)[0].max() + 1
    needed = [plain.compute_required_power(np.flatnonzero(y == c)) for c in range(3)]
    assert state.power == pytest.approx(1 + np.mean(needed), rel=0.2)
    for c in range(3):  # at what it needs, no split of it gains
        rows = np.flatnonzero(y == c)
        whole = replace(state, power=1.0 + needed[c])
        assert whole.compute_required_power(rows) <= 1e-6


def test_negative_values_are_rejected():
    for wrong in ({"n_new": -1}, {"n_start": -1}, {"n_components": 0}):
        with pytest.raises(ValueError, match="they must be at least 0, 0 and 1"):
            GaussianMixtureDiscovery(**wrong)


@pytest.mark.parametrize("unit", [0.01, 1.0, 100.0])
def test_with_one_labelled_row_the_unit_of_the_features_is_no_matter(unit):
    data, truth = world(new=3, known=1)
    y = np.where(np.arange(len(data)) == 0, 0, -1)
    one = replace(data, x=unit * data.x, y=y)
    answer = GaussianMixtureDiscovery().fit(one).logits(one.x).argmax(1)
    assert clustering_accuracy(truth, answer, 1).overall > 0.9
