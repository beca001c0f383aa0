"""The benchmark of wrong labels: its small run, and the figures that it makes by hand."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ilk.bench import _label_audit as audits
from ilk.bench import _noisy_heads as heads
from ilk.bench import _verified_errors as errors
from ilk.bench import wrong_labels
from ilk.data import Data
from ilk.pages import plot_spec
from ilk.trust.suspects import RANKINGS


@pytest.fixture(scope="module")
def small():
    return wrong_labels.run(small=True)


def test_the_small_run_tells_all_three(small):
    metrics = {told["metric"] for told in small["tables"]}
    for word in ("accuracy on clean", "balanced accuracy", "distance", "area under", "the audit"):
        assert any(word in metric for metric in metrics), word
    rows = {claim["row"] for told in small["tables"] for claim in told["claims"]}
    assert rows == {"elr-early-learning", "rcal-noisy-long-tail"}
    for told in small["tables"]:
        assert all(np.isfinite(row["score"]["mean"]) for row in told["scores"])
    for plot in small["plots"]:
        plot_spec.checked(plot)
    judge, by = small["audit"]["chosen"].split(", ")
    assert judge in audits.JUDGES
    assert by in RANKINGS


def test_planted_digits_are_found(small):
    (told,) = [t for t in small["tables"] if t["metric"].startswith("area")]
    assert max(row["score"]["mean"] for row in told["scores"]) > 0.95


def test_the_area_is_that_of_the_roc():
    rng = np.random.default_rng(0)
    wrong = rng.random(60) < 0.2
    order = rng.permutation(60)
    place = audits.position(order, 60)
    np.testing.assert_array_equal(order[place], np.arange(60))
    assert audits.area(place, wrong) == pytest.approx(roc_auc_score(wrong, -place))


def test_images_needed_until_four_fifths_are_found():
    assert errors._needed(np.array([0, 9, 4, 99, 1])) == 10  # four of five: the one at place 9
    assert errors._needed(np.arange(10)) == 8


def test_axes_are_learnt_from_training_rows_alone():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((40, 6)).astype(np.float32) * [9, 1, 1, 1, 1, 1]
    data = Data(x.astype(np.float32), np.arange(40) % 2, ("a", "b"))
    one = heads.in_axes(heads.Rows(data.rows(range(30)), data.rows(range(30, 40)), None), 2)
    two = heads.in_axes(heads.Rows(data.rows(range(30)), data.rows(range(30, 33)), None), 2)
    assert one.train.x.shape == (30, 2)
    np.testing.assert_allclose(one.test.x[:3], two.test.x, atol=1e-5)
    assert np.var(one.train.x[:, 0]) > np.var(one.train.x[:, 1])


def test_what_is_chosen_on_stands_apart_and_is_still_noisy():
    data = Data(np.zeros((70, 2), np.float32), np.arange(70) % 5, tuple("abcde"))
    part, held = heads.parted(data, 0)
    assert (len(part), len(held)) == (60, 10)
    np.testing.assert_array_equal(np.sort(np.r_[part.bag, held.bag]), np.arange(70))


def test_cuts_differ_by_seed_and_do_not_overlap():
    data = Data(np.arange(200, dtype=np.float32)[:, None], np.zeros(200, int), ("a",))
    one, two = (wrong_labels.cut(data, None, (120, 50), s) for s in range(2))
    assert not set(one.train.bag) & set(one.test.bag)
    np.testing.assert_array_equal(one.train.bag, one.at)
    assert (one.at != two.at).any()
