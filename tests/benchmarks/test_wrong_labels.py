"""The benchmark of wrong labels: its small run, and the figures that it makes by hand."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from benchmarks.wrong_labels import label_audit as audits
from benchmarks.wrong_labels import noisy_heads as heads
from benchmarks.wrong_labels import run as wrong_labels
from benchmarks.wrong_labels import verified_errors as errors
from ilk.core.data import Data
from ilk.trust.label_errors import RANKINGS
from tools.docs import plot_spec


@pytest.fixture(scope="module")
def small():
    return wrong_labels.run(small=True)


def test_the_small_run_answers_all_three_questions(small):
    metrics = {table["metric"] for table in small["tables"]}
    for word in ("accuracy on clean", "balanced accuracy", "distance", "area under", "the audit"):
        assert any(word in metric for metric in metrics), word
    rows = {claim["entry"] for table in small["tables"] for claim in table["claims"]}
    assert rows == {"elr-early-learning", "rcal-noisy-long-tail"}
    for table in small["tables"]:
        assert all(np.isfinite(row["score"]["mean"]) for row in table["scores"])
    for plot in small["plots"]:
        plot_spec.check_spec(plot)
    method, ranking = small["audit"]["selected"].split(", ")
    assert method in audits.METHODS
    assert ranking in RANKINGS


def test_planted_digits_are_found(small):
    (table,) = [t for t in small["tables"] if t["metric"].startswith("area")]
    assert max(row["score"]["mean"] for row in table["scores"]) > 0.95


def test_the_area_is_that_of_the_roc():
    rng = np.random.default_rng(0)
    wrong = rng.random(60) < 0.2
    order = rng.permutation(60)
    place = audits.invert_ranking(order, 60)
    np.testing.assert_array_equal(order[place], np.arange(60))
    assert audits.roc_auc(place, wrong) == pytest.approx(roc_auc_score(wrong, -place))


def test_number_of_images_until_four_fifths_of_the_errors():
    assert (
        errors._images_to_review(np.array([0, 9, 4, 99, 1])) == 10
    )  # four of five: the one at place 9
    assert errors._images_to_review(np.arange(10)) == 8


def test_axes_are_fitted_to_training_rows_only():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((40, 6)).astype(np.float32) * [9, 1, 1, 1, 1, 1]
    data = Data(x.astype(np.float32), np.arange(40) % 2, ("a", "b"))
    one = heads.project(heads.NoisySplit(data.take(range(30)), data.take(range(30, 40)), None), 2)
    two = heads.project(heads.NoisySplit(data.take(range(30)), data.take(range(30, 33)), None), 2)
    assert one.train.x.shape == (30, 2)
    np.testing.assert_allclose(one.test.x[:3], two.test.x, atol=1e-5)
    assert np.var(one.train.x[:, 0]) > np.var(one.train.x[:, 1])


def test_validation_rows_are_separate_and_noisy():
    data = Data(np.zeros((70, 2), np.float32), np.arange(70) % 5, tuple("abcde"))
    part, validation = heads.split_validation(data, 0)
    assert (len(part), len(validation)) == (60, 10)
    np.testing.assert_array_equal(np.sort(np.r_[part.bag, validation.bag]), np.arange(70))


def test_splits_differ_by_seed_and_do_not_overlap():
    data = Data(np.arange(200, dtype=np.float32)[:, None], np.zeros(200, int), ("a",))
    one, two = (wrong_labels.draw_split(data, None, (120, 50), s) for s in range(2))
    assert not set(one.train.bag) & set(one.test.bag)
    np.testing.assert_array_equal(one.train.bag, one.indices)
    assert (one.indices != two.indices).any()
