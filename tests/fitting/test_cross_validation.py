"""Folds, cross-validation steps, cross-validation and model selection."""

import json
from contextlib import contextmanager
from dataclasses import dataclass
from math import comb

import numpy as np
import pytest
from scipy.stats import binomtest

from ilk.core import metrics
from ilk.core.data import Data
from ilk.core.errors import InputError, NoLabels, UnknownName
from ilk.fitting.cross_validation import cross_validate
from ilk.fitting.model_selection import rank_candidates
from ilk.fitting.selection_statistics import (
    Outcomes,
    compute_outcomes,
    compute_p_value,
    estimate_corrected_accuracy,
    find_tied,
    mcnemar_p_value,
)
from ilk.protocols import cross_validation_steps, describe_fold_limits, few_shot, stratified_folds


@dataclass(frozen=True, eq=False)
class Scored:
    means: np.ndarray
    sharp: float

    def logits(self, x):
        z = -self.sharp * ((x[:, None, :] - self.means) ** 2).sum(2)
        return np.where(np.isnan(z), -np.inf, z)


@dataclass(frozen=True)
class Centroid:
    """Nearest class mean with an inverse temperature that only changes the probabilities."""

    sharp: float = 1.0

    def fit(self, data):
        means = np.full((data.k, data.x.shape[1]), np.nan)
        for c in np.unique(data.y[data.y >= 0]):
            means[c] = data.x[data.y == c].mean(0)
        return Scored(means, self.sharp)


@dataclass(frozen=True)
class GDA(Centroid):
    """Has the name of a safe candidate."""


@dataclass(frozen=True)
class Broken:
    """Fails in a given way."""

    failure: str = "singular"

    def fit(self, data):
        if self.failure == "singular":
            raise np.linalg.LinAlgError("Singular matrix")
        if self.failure == "input":
            raise InputError("Broken wants hints; there are none")
        if self.failure == "memory":
            raise MemoryError
        if self.failure == "stop":
            raise KeyboardInterrupt
        return Scored(np.full((data.k, data.x.shape[1]), np.inf), 1.0)


def blobs(n=120, k=3, d=5, apart=2.0, seed=0, unlabelled=0):
    rng = np.random.default_rng(seed)
    y = np.r_[np.arange(k), rng.choice(k, n - k, p=np.arange(1, k + 1) / (k * (k + 1) / 2))]
    x = rng.normal(size=(k, d))[y] * apart + rng.normal(size=(n, d))
    y[rng.choice(n, unlabelled, replace=False)] = -1
    return Data(x.astype(np.float32), y, tuple(f"class {c}" for c in range(k)))


@pytest.mark.parametrize("seed", range(4))
def test_every_tested_class_is_trained_on_and_spread_evenly(seed):
    rng = np.random.default_rng(seed)
    y = np.r_[rng.integers(0, 12, 60), 20, 21, 22, 22, -1, -1]
    fold = stratified_folds(y, 5, seed)
    counts = np.bincount(y[y >= 0])
    for c in np.flatnonzero(counts):
        per = np.bincount(fold[(y == c) & (fold >= 0)], minlength=5)
        if counts[c] == 1:
            assert (fold[y == c] == -1).all()
        else:
            assert per.sum() == counts[c]
            assert per.max() - per.min() <= 1
            assert per.max() < counts[c]  # at least one stays to train on
    assert (fold[y < 0] == -1).all()
    sizes = np.bincount(fold[fold >= 0])
    assert sizes.max() - sizes.min() <= 1


def test_folds_shrink_to_the_largest_class_and_none_is_empty():
    fold = stratified_folds(np.array([0, 0, 1, 1, 1, 2]), 10, 0)
    assert set(fold) == {-1, 0, 1, 2}
    assert set(stratified_folds(np.array([0, 0, 1, 1]), 5, 0)) == {0, 1}
    assert (stratified_folds(np.arange(4), 5, 0) == -1).all()


def test_folds_depend_on_the_seed_and_on_nothing_else():
    y = np.arange(40) % 4
    np.testing.assert_array_equal(stratified_folds(y, 5, 1), stratified_folds(y, 5, 1))
    assert (stratified_folds(y, 5, 1) != stratified_folds(y, 5, 2)).any()
    with pytest.raises(InputError, match="needs at least 2 folds"):
        stratified_folds(y, 1, 0)


def test_limits_of_the_folds_are_described():
    def message(*y):
        y = np.array(y)
        return describe_fold_limits(y, stratified_folds(y, 5, 0), 5)

    assert message(*[0] * 5, *[1] * 5) == ""
    assert "2 classes have one image each: cross-validation cannot test them" in message(
        *[0] * 5, 1, 2
    )
    assert "one class has a single image" in message(*[0] * 5, 1)
    assert "no class has 5 images, so there are 3 folds" in message(0, 0, 0, 1, 1)
    assert "cross-validation is impossible" in message(0, 1, 2, -1)


def test_steps_test_each_row_once_and_train_on_all_others_unlabelled_too():
    data = blobs(unlabelled=20)
    fold = stratified_folds(data.y, 5, 0)
    seen = []
    for step in cross_validation_steps(data, fold):
        assert sorted([*step.train.bag, *step.test.bag]) == list(range(120))
        assert (step.train.y < 0).sum() == 20
        np.testing.assert_array_equal(step.test.bag, step.test_rows)
        seen += step.test_rows.tolist()
    assert sorted(seen) == np.flatnonzero(data.y >= 0).tolist()
    with pytest.raises(ValueError, match=r"fold has shape \(3,\)"):
        next(cross_validation_steps(data, fold[:3]))


def test_few_shot_trains_on_a_fixed_number_per_class():
    data = blobs(unlabelled=20)
    step = few_shot(data, 4, seed=0)
    assert step.train.count_labels().tolist() == np.minimum(4, data.count_labels()).tolist()
    assert len(step.train.take_unlabelled()) == 20
    assert len(step.train) + len(step.test) == len(data)
    assert not set(step.train.bag) & set(step.test.bag)
    other = few_shot(data, 4, seed=1)
    assert set(other.train.take_labelled().bag) != set(step.train.take_labelled().bag)
    with pytest.raises(InputError, match="shots is 0; give at least 1"):
        few_shot(data, 0)


def test_out_of_fold_logits_are_those_of_a_model_without_the_row():
    data = blobs(unlabelled=10)
    fold = stratified_folds(data.y, 4, 0)
    oof = cross_validate(Centroid(), data, fold)
    for f in range(4):
        by_hand = Centroid().fit(data.take(fold != f)).logits(data.x[fold == f])
        np.testing.assert_array_equal(oof.logits[fold == f], by_hand)
    np.testing.assert_array_equal(oof.is_tested, data.y >= 0)
    assert np.isnan(oof.logits[~oof.is_tested]).all()
    assert oof.logits.dtype == np.float64
    assert oof.seconds > 0


def test_a_rows_own_label_does_not_reach_its_answer():
    data = blobs()
    fold = stratified_folds(data.y, 4, 0)
    y = data.y.copy()
    y[fold == 2] = (y[fold == 2] + 1) % 3
    other = Data(data.x, y, data.classes)
    one, two = (cross_validate(Centroid(), d, fold).logits for d in (data, other))
    np.testing.assert_array_equal(one[fold == 2], two[fold == 2])
    assert (one[fold != 2] != two[fold != 2]).any()


def test_leaderboard_puts_the_better_features_first():
    good, poor = blobs(), blobs(apart=0.2)
    poor = Data(poor.x, good.y, good.classes)
    leaderboard = rank_candidates(
        {"poor": poor, "good": good}, lambda _name: [Centroid(), Centroid(0.5)]
    )
    assert leaderboard.winner[0] == "good"
    assert [r.encoder for r in leaderboard.results] == ["good", "good", "poor", "poor"]
    assert [r.is_tied for r in leaderboard.results] == [True, True, False, False]
    assert leaderboard.results[0].method.startswith("Centroid(")
    assert leaderboard.n_folds == 5
    assert leaderboard.note == ""
    np.testing.assert_allclose(leaderboard.probabilities.sum(1), 1)
    answer = leaderboard.out_of_fold.logits.argmax(1)
    assert leaderboard.results[0].scores.accuracy == metrics.accuracy(good.y, answer)
    assert (
        leaderboard.corrected_accuracy.low
        <= leaderboard.results[0].scores.accuracy.value
        <= leaderboard.corrected_accuracy.high
    )
    assert json.loads(json.dumps(leaderboard.to_json()))["winner"]["encoder"] == "good"


def test_calibration_removes_the_effect_of_the_temperature():
    leaderboard = rank_candidates({"e": blobs()}, {"e": [Centroid(1.0), Centroid(100.0)]})
    losses = [r.scores.log_loss for r in leaderboard.results]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_the_leaderboard_is_reproducible():
    runs = [
        rank_candidates({"e": blobs()}, {"e": [Centroid(), Centroid(3.0)]}, seed=4)
        for _ in range(2)
    ]
    assert runs[0].corrected_accuracy == runs[1].corrected_accuracy
    np.testing.assert_array_equal(runs[0].out_of_fold.logits, runs[1].out_of_fold.logits)


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        ("singular", "Singular matrix"),
        ("input", "Broken wants hints; there are none"),
        ("memory", "MemoryError"),
        ("infinite", "rows of logits"),
    ],
)
def test_a_method_that_fails_is_a_row_with_a_note(failure, message):
    advances = []

    @contextmanager
    def progress(what, total):
        advances.append(total)
        yield advances.append

    with np.errstate(invalid="ignore"):
        leaderboard = rank_candidates(
            {"e": blobs()}, {"e": [Broken(failure), Centroid()]}, progress=progress
        )
    assert leaderboard.winner == ("e", Centroid())
    last = leaderboard.results[-1]
    assert last.scores is None
    assert message in last.note
    assert not last.is_tied
    assert advances[0] == sum(advances[1:]) == 10


def test_a_keyboard_interrupt_is_not_caught():
    with pytest.raises(KeyboardInterrupt):
        rank_candidates({"e": blobs()}, {"e": [Broken("stop"), Centroid()]})


def test_if_all_candidates_fail_every_reason_is_reported():
    with pytest.raises(InputError, match=r"no method could be fitted \(Broken.*on e: Singular"):
        rank_candidates({"e": blobs()}, {"e": [Broken()]})


def test_one_image_per_class_falls_back_to_a_safe_candidate():
    data = Data(np.eye(4, dtype=np.float32), np.arange(4), tuple("abcd"))
    tables = {"pixels/8x8x1": data, "hog/32": data, "timm/x": data, "timm/y": data}
    leaderboard = rank_candidates(tables, lambda _name: [Centroid(), GDA()])
    assert leaderboard.winner == ("timm/x", GDA())
    assert all(r.scores is None and r.note for r in leaderboard.results)
    assert (leaderboard.n_folds, leaderboard.corrected_accuracy, leaderboard.out_of_fold) == (
        0,
        None,
        None,
    )
    assert "cross-validation is impossible" in leaderboard.note


@pytest.mark.parametrize("criterion", ["accuracy", "macro_accuracy", "log_loss"])
def test_rare_single_and_many_classes(criterion):
    rng = np.random.default_rng(0)
    y = np.r_[np.zeros(300, int), np.repeat(np.arange(1, 150), 2), np.arange(150, 160), [-1] * 5]
    x = rng.normal(size=(170, 16))[y] * 2 + rng.normal(size=(len(y), 16))
    data = Data(x.astype(np.float32), y, tuple(map(str, range(170))))
    leaderboard = rank_candidates(
        {"e": data}, {"e": [Centroid(), Centroid(0.1)]}, criterion=criterion
    )
    assert "10 classes have one image each" in leaderboard.note
    assert leaderboard.results[0].scores.n == 300 + 298
    assert np.isnan(leaderboard.probabilities[y >= 150]).all()
    assert np.isfinite(leaderboard.corrected_accuracy.value)


def test_each_criterion_selects_its_best_candidate():
    """The rare class contributes half of the macro accuracy and a tenth of the accuracy."""

    @dataclass(frozen=True)
    class Leaning:
        lean: float = 0.0

        def fit(self, data):
            return Leans(Centroid().fit(data), self.lean)

    @dataclass(frozen=True)
    class Leans:
        model: object
        lean: float

        def logits(self, x):
            return self.model.logits(x) + np.array([self.lean, 0])

    rng = np.random.default_rng(0)
    y = (np.arange(400) < 40).astype(int)
    data = Data((y[:, None] * 1.2 + rng.normal(size=(400, 2))).astype(np.float32), y, ("a", "b"))
    tries = {"e": [Leaning(v) for v in (-1.0, 0.0, 1.0, 3.0, 9.0)]}
    leaderboards = {s: rank_candidates({"e": data}, tries, criterion=s) for s in metrics_of}
    for s, of in metrics_of.items():
        best = leaderboards[s].results[0]
        assert of(best.scores) == max(of(r.scores) for r in leaderboards[s].results)
    assert leaderboards["accuracy"].winner != leaderboards["macro_accuracy"].winner


metrics_of = {
    "accuracy": lambda s: s.accuracy.value,
    "macro_accuracy": lambda s: s.macro_accuracy,
    "log_loss": lambda s: -s.log_loss,
}


def test_data_that_cannot_be_ranked_is_refused():
    data = blobs()
    nothing = Data(data.x, np.full(120, -1), data.classes)
    alone = Data(data.x, np.zeros(120, int), data.classes)
    with pytest.raises(NoLabels, match="ZeroShot"):
        rank_candidates({"e": nothing}, {"e": [Centroid()]})
    with pytest.raises(InputError, match="every labelled image is 'class 0'"):
        rank_candidates({"e": alone}, {"e": [Centroid()]})
    with pytest.raises(InputError, match="no method to compare"):
        rank_candidates({"e": data}, {"e": []})
    with pytest.raises(InputError, match="no encoder to compare"):
        rank_candidates({}, {})
    with pytest.raises(UnknownName, match="the nearest are accuracy"):
        rank_candidates({"e": data}, {"e": [Centroid()]}, criterion="acuracy")
    with pytest.raises(ValueError, match="the rows of f differ from the rows of e"):
        rank_candidates({"e": data, "f": alone}, lambda _name: [Centroid()])


def test_the_corrected_accuracy_of_equal_candidates_is_unbiased():
    """Of 30 candidates with a true accuracy of 0.7, the best one scores 0.79 without correction."""
    uncorrected, corrected = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        y = rng.integers(3, size=100)
        tries = [Outcomes(rng.random(100) < 0.7, rng.random(100)) for _ in range(30)]
        uncorrected.append(max(v.is_correct.mean() for v in tries))
        estimate = estimate_corrected_accuracy(y, tries, seed=seed)
        assert estimate.low <= 0.7 <= estimate.high
        corrected.append(estimate.value)
    assert np.mean(uncorrected) > 0.77
    assert np.mean(corrected) == pytest.approx(0.7, abs=0.02)


def test_the_corrected_accuracy_is_that_of_the_selected_candidate():
    """Candidates: one correct on the rare and half of the common class, one never on the rare."""
    y = (np.arange(400) < 40).astype(int)
    rare = Outcomes((y == 1) | (np.arange(400) % 2 == 0), np.full(400, 0.7))
    common = Outcomes(y == 0, np.full(400, 0.6))
    taken = {s: estimate_corrected_accuracy(y, [rare, common], s).value for s in metrics_of}
    assert taken["macro_accuracy"] == pytest.approx(rare.is_correct.mean(), abs=0.01)
    assert taken["accuracy"] == pytest.approx(common.is_correct.mean(), abs=0.01)
    assert taken["log_loss"] == taken["accuracy"]


def test_with_one_candidate_there_is_nothing_to_correct():
    rng = np.random.default_rng(0)
    one = Outcomes(rng.random(500) < 0.8, rng.random(500))
    estimate = estimate_corrected_accuracy(rng.integers(3, size=500), [one])
    assert estimate.value == pytest.approx(one.is_correct.mean(), abs=0.005)
    own = metrics.wilson_interval(one.is_correct.sum(), 500)
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx(
        (own.value, own.low, own.high)
    )


def test_the_corrected_accuracy_lies_in_its_interval_which_covers_in_95_percent():
    """One of 8 correlated candidates is the best; the truth is the accuracy of the one selected."""
    covered, widths = 0, []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        y, shared = rng.integers(3, size=150), rng.random(150)
        p = np.append(np.full(7, 0.7), 0.74)
        own = np.where(rng.random((8, 150)) < 0.7, shared, rng.random((8, 150)))
        tries = [Outcomes(u < q, u) for u, q in zip(own, p, strict=True)]
        estimate = estimate_corrected_accuracy(y, tries, seed=seed)
        assert estimate.low <= estimate.value <= max(t.is_correct.mean() for t in tries)
        assert max(t.is_correct.mean() for t in tries) <= estimate.high
        keys = [(t.is_correct.mean(), -t.loss.mean()) for t in tries]
        covered += estimate.low <= p[max(range(8), key=keys.__getitem__)] <= estimate.high
        widths.append(estimate.high - estimate.low)
    assert covered >= 26
    assert np.mean(widths) < 1.3 * 2 * 1.96 * np.sqrt(0.21 / 150)


@dataclass(frozen=True)
class Bounded(Centroid):
    """Trains on at most 30 rows per fold."""

    max_fold_rows = 30

    def fit(self, data):
        SEEN.append(data)
        return super().fit(data)


SEEN = []


def test_a_method_may_bound_the_training_rows_of_a_fold_and_the_leaderboard_says_so():
    SEEN.clear()
    data = blobs(n=120)
    board = rank_candidates({"e": data}, {"e": [Bounded(), Centroid()]})
    notes = {r.method.partition("(")[0]: r.note for r in board.results}
    assert notes == {"Bounded": "from 30 random training rows of 96 per fold", "Centroid": ""}
    assert [len(train) for train in SEEN] == [30] * 5
    for f, train in enumerate(SEEN):  # no row of the fold that is tested
        tested = {row.tobytes() for row in data.x[board.fold == f]}
        assert not tested & {row.tobytes() for row in train.x}
    SEEN.clear()
    few = blobs(n=36)
    board = rank_candidates({"e": few}, {"e": [Bounded()]})
    assert board.results[0].note == ""


@pytest.mark.parametrize(("a", "b"), [(0, 0), (1, 0), (5, 5), (8, 1), (20, 7), (3, 12)])
def test_mcnemar_mid_p_is_the_exact_p_value_minus_half_of_the_observed(a, b):
    """Mid-p: half of the probability of the observed outcome is subtracted from each tail."""
    seen = comb(a + b, a) / 2 ** (a + b)
    exact = binomtest(a, a + b, 0.5).pvalue if a + b else 1.0
    assert mcnemar_p_value(a, b) == pytest.approx(1.0 if a == b else exact - seen)
    assert mcnemar_p_value(a, b) == mcnemar_p_value(b, a)


@pytest.mark.parametrize("criterion", ["accuracy", "macro_accuracy", "log_loss"])
def test_the_paired_test_has_a_false_positive_rate_of_five_percent(criterion):
    told_apart, draws = 0, 400
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        y = rng.integers(3, size=200)
        both = rng.random(200) < 0.5  # the correctness of two candidates is correlated
        a, b = (
            Outcomes(both | (rng.random(200) < 0.4), rng.exponential(size=200)) for _ in range(2)
        )
        told_apart += compute_p_value(y, a, b, criterion) <= 0.05
    assert 0.02 <= told_apart / draws <= 0.085


def test_a_candidate_is_tied_with_itself_and_not_with_a_much_worse_one():
    y = np.arange(100) % 4
    right = Outcomes(np.ones(100, bool), np.full(100, 0.1))
    wrong = Outcomes(np.arange(100) < 60, np.linspace(1, 3, 100))
    for criterion in metrics_of:
        assert compute_p_value(y, right, right, criterion) == 1
        assert find_tied(y, [wrong, right, right], criterion).tolist() == [False, True, True]


def test_outcomes_clip_zero_probabilities_as_the_metric_does():
    p = np.array([[1.0, 0.0], [0.25, 0.75]])
    y = np.array([1, 1])
    estimate = compute_outcomes(y, p)
    assert estimate.is_correct.tolist() == [False, True]
    assert estimate.loss.mean() == pytest.approx(metrics.log_loss(y, p))
