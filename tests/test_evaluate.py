"""Folds, steps, cross-validation and the leaderboard."""

import json
from contextlib import contextmanager
from dataclasses import dataclass
from math import comb

import numpy as np
import pytest
from scipy.stats import binomtest

from ilk import metrics
from ilk.data import Data
from ilk.errors import InputError, NoLabels, UnknownName
from ilk.evaluate import cross_validate, leaderboard, stratified_folds
from ilk.protocols import few_shot, steps, what_folds_miss
from ilk.selection import Votes, honest_accuracy, mcnemar, p_value, tied, votes


@dataclass(frozen=True, eq=False)
class Scored:
    means: np.ndarray
    sharp: float

    def logits(self, x):
        z = -self.sharp * ((x[:, None, :] - self.means) ** 2).sum(2)
        return np.where(np.isnan(z), -np.inf, z)


@dataclass(frozen=True)
class Centroid:
    """Nearest class mean, with a sharpness that only changes the probabilities."""

    sharp: float = 1.0

    def fit(self, data):
        means = np.full((data.k, data.x.shape[1]), np.nan)
        for c in np.unique(data.y[data.y >= 0]):
            means[c] = data.x[data.y == c].mean(0)
        return Scored(means, self.sharp)


@dataclass(frozen=True)
class GDA(Centroid):
    """Named like the safe choice."""


@dataclass(frozen=True)
class Broken:
    """Fails in a way of its choice."""

    how: str = "singular"

    def fit(self, data):
        if self.how == "singular":
            raise np.linalg.LinAlgError("Singular matrix")
        if self.how == "input":
            raise InputError("Broken wants hints; there are none")
        if self.how == "memory":
            raise MemoryError
        if self.how == "stop":
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
    with pytest.raises(InputError, match="1 folds is none"):
        stratified_folds(y, 1, 0)


def test_what_folds_could_not_do_is_said():
    def said(*y):
        y = np.array(y)
        return what_folds_miss(y, stratified_folds(y, 5, 0), 5)

    assert said(*[0] * 5, *[1] * 5) == ""
    assert "2 classes have one image each: cross-validation cannot test them" in said(
        *[0] * 5, 1, 2
    )
    assert "one class has a single image" in said(*[0] * 5, 1)
    assert "no class has 5 images, so there are 3 folds" in said(0, 0, 0, 1, 1)
    assert "cross-validation is impossible" in said(0, 1, 2, -1)


def test_steps_test_each_row_once_and_train_on_all_others_unlabelled_too():
    data = blobs(unlabelled=20)
    fold = stratified_folds(data.y, 5, 0)
    seen = []
    for step in steps(data, fold):
        assert sorted([*step.train.bag, *step.test.bag]) == list(range(120))
        assert (step.train.y < 0).sum() == 20
        np.testing.assert_array_equal(step.test.bag, step.rows)
        seen += step.rows.tolist()
    assert sorted(seen) == np.flatnonzero(data.y >= 0).tolist()
    with pytest.raises(ValueError, match=r"fold has shape \(3,\)"):
        next(steps(data, fold[:3]))


def test_few_shot_trains_on_so_many_a_class():
    data = blobs(unlabelled=20)
    step = few_shot(data, 4, seed=0)
    assert step.train.counts().tolist() == np.minimum(4, data.counts()).tolist()
    assert len(step.train.unlabelled()) == 20
    assert len(step.train) + len(step.test) == len(data)
    assert not set(step.train.bag) & set(step.test.bag)
    other = few_shot(data, 4, seed=1)
    assert set(other.train.labelled().bag) != set(step.train.labelled().bag)
    with pytest.raises(InputError, match="0 shots leave nothing"):
        few_shot(data, 0)


def test_out_of_fold_logits_are_those_of_a_model_without_the_row():
    data = blobs(unlabelled=10)
    fold = stratified_folds(data.y, 4, 0)
    oof = cross_validate(Centroid(), data, fold)
    for f in range(4):
        by_hand = Centroid().fit(data.rows(fold != f)).logits(data.x[fold == f])
        np.testing.assert_array_equal(oof.logits[fold == f], by_hand)
    np.testing.assert_array_equal(oof.tested, data.y >= 0)
    assert np.isnan(oof.logits[~oof.tested]).all()
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
    board = leaderboard({"poor": poor, "good": good}, lambda _name: [Centroid(), Centroid(0.5)])
    assert board.winner[0] == "good"
    assert [r.encoder for r in board.results] == ["good", "good", "poor", "poor"]
    assert [r.tied for r in board.results] == [True, True, False, False]
    assert board.results[0].method.startswith("Centroid(")
    assert board.folds == 5
    assert board.note == ""
    np.testing.assert_allclose(board.probabilities.sum(1), 1)
    answer = board.oof.logits.argmax(1)
    assert board.results[0].scores.accuracy == metrics.accuracy(good.y, answer)
    assert board.honest.low <= board.results[0].scores.accuracy.value <= board.honest.high
    assert json.loads(json.dumps(board.to_json()))["winner"]["encoder"] == "good"


def test_calibration_makes_sharpness_harmless():
    board = leaderboard({"e": blobs()}, {"e": [Centroid(1.0), Centroid(100.0)]})
    losses = [r.scores.log_loss for r in board.results]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_the_board_is_the_same_twice():
    runs = [
        leaderboard({"e": blobs()}, {"e": [Centroid(), Centroid(3.0)]}, seed=4) for _ in range(2)
    ]
    assert runs[0].honest == runs[1].honest
    np.testing.assert_array_equal(runs[0].oof.logits, runs[1].oof.logits)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("singular", "Singular matrix"),
        ("input", "Broken wants hints; there are none"),
        ("memory", "MemoryError"),
        ("infinite", "rows of logits"),
    ],
)
def test_a_method_that_fails_is_a_row_with_a_note(how, said):
    told = []

    @contextmanager
    def progress(what, total):
        told.append(total)
        yield told.append

    with np.errstate(invalid="ignore"):
        board = leaderboard({"e": blobs()}, {"e": [Broken(how), Centroid()]}, progress=progress)
    assert board.winner == ("e", Centroid())
    last = board.results[-1]
    assert last.scores is None
    assert said in last.note
    assert not last.tied
    assert told[0] == sum(told[1:]) == 10


def test_a_person_who_stops_it_stops_it():
    with pytest.raises(KeyboardInterrupt):
        leaderboard({"e": blobs()}, {"e": [Broken("stop"), Centroid()]})


def test_where_all_fail_every_reason_is_told():
    with pytest.raises(InputError, match=r"no method could be fitted \(Broken.*on e: Singular"):
        leaderboard({"e": blobs()}, {"e": [Broken()]})


def test_one_image_a_class_falls_back_to_what_is_safe():
    data = Data(np.eye(4, dtype=np.float32), np.arange(4), tuple("abcd"))
    tables = {"pixels/8x8x1": data, "hog/32": data, "timm/x": data, "timm/y": data}
    board = leaderboard(tables, lambda _name: [Centroid(), GDA()])
    assert board.winner == ("timm/x", GDA())
    assert all(r.scores is None and r.note for r in board.results)
    assert (board.folds, board.honest, board.oof) == (0, None, None)
    assert "cross-validation is impossible" in board.note


@pytest.mark.parametrize("select", ["accuracy", "macro_accuracy", "log_loss"])
def test_rare_single_and_many_classes(select):
    rng = np.random.default_rng(0)
    y = np.r_[np.zeros(300, int), np.repeat(np.arange(1, 150), 2), np.arange(150, 160), [-1] * 5]
    x = rng.normal(size=(170, 16))[y] * 2 + rng.normal(size=(len(y), 16))
    data = Data(x.astype(np.float32), y, tuple(map(str, range(170))))
    board = leaderboard({"e": data}, {"e": [Centroid(), Centroid(0.1)]}, select=select)
    assert "10 classes have one image each" in board.note
    assert board.results[0].scores.n == 300 + 298
    assert np.isnan(board.probabilities[y >= 150]).all()
    assert np.isfinite(board.honest.value)


def test_selection_by_each_measure_takes_the_best_by_it():
    """The rare class is worth half of the macro accuracy and a tenth of the accuracy."""

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
    boards = {s: leaderboard({"e": data}, tries, select=s) for s in metrics_of}
    for s, of in metrics_of.items():
        best = boards[s].results[0]
        assert of(best.scores) == max(of(r.scores) for r in boards[s].results)
    assert boards["accuracy"].winner != boards["macro_accuracy"].winner


metrics_of = {
    "accuracy": lambda s: s.accuracy.value,
    "macro_accuracy": lambda s: s.macro_accuracy,
    "log_loss": lambda s: -s.log_loss,
}


def test_what_cannot_be_raced_is_refused_in_words():
    data = blobs()
    nothing = Data(data.x, np.full(120, -1), data.classes)
    alone = Data(data.x, np.zeros(120, int), data.classes)
    with pytest.raises(NoLabels, match="ZeroShot"):
        leaderboard({"e": nothing}, {"e": [Centroid()]})
    with pytest.raises(InputError, match="every labelled image is 'class 0'"):
        leaderboard({"e": alone}, {"e": [Centroid()]})
    with pytest.raises(InputError, match="no method to try"):
        leaderboard({"e": data}, {"e": []})
    with pytest.raises(InputError, match="no encoder to try"):
        leaderboard({}, {})
    with pytest.raises(UnknownName, match="the nearest are accuracy"):
        leaderboard({"e": data}, {"e": [Centroid()]}, select="acuracy")
    with pytest.raises(ValueError, match="the rows of f are not those of e"):
        leaderboard({"e": data, "f": alone}, lambda _name: [Centroid()])


def test_the_best_of_many_equals_is_not_believed():
    """30 candidates of true accuracy 0.7: the best looks like 0.79, its honest figure does not."""
    naive, honest = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        y = rng.integers(3, size=100)
        tries = [Votes(rng.random(100) < 0.7, rng.random(100)) for _ in range(30)]
        naive.append(max(v.right.mean() for v in tries))
        got = honest_accuracy(y, tries, seed=seed)
        assert got.low <= 0.7 <= got.high
        honest.append(got.value)
    assert np.mean(naive) > 0.77
    assert np.mean(honest) == pytest.approx(0.7, abs=0.02)


def test_the_honest_figure_is_of_the_candidate_that_the_measure_takes():
    """Two heads: one right on the rare class and half the common one, one never on the rare."""
    y = (np.arange(400) < 40).astype(int)
    rare = Votes((y == 1) | (np.arange(400) % 2 == 0), np.full(400, 0.7))
    common = Votes(y == 0, np.full(400, 0.6))
    taken = {s: honest_accuracy(y, [rare, common], s).value for s in metrics_of}
    assert taken["macro_accuracy"] == pytest.approx(rare.right.mean(), abs=0.01)
    assert taken["accuracy"] == pytest.approx(common.right.mean(), abs=0.01)
    assert taken["log_loss"] == taken["accuracy"]


def test_with_one_candidate_there_is_nothing_to_correct():
    rng = np.random.default_rng(0)
    one = Votes(rng.random(500) < 0.8, rng.random(500))
    got = honest_accuracy(rng.integers(3, size=500), [one])
    assert got.value == pytest.approx(one.right.mean(), abs=0.005)
    spread = 1.96 * np.sqrt(0.16 / 500)
    assert spread < got.high - got.value < 2.5 * spread


@pytest.mark.parametrize(("a", "b"), [(0, 0), (1, 0), (5, 5), (8, 1), (20, 7), (3, 12)])
def test_mcnemar_is_the_exact_binomial_less_what_was_seen(a, b):
    """Mid-p: half of the probability of what was seen is taken off either tail."""
    seen = comb(a + b, a) / 2 ** (a + b)
    exact = binomtest(a, a + b, 0.5).pvalue if a + b else 1.0
    assert mcnemar(a, b) == pytest.approx(1.0 if a == b else exact - seen)
    assert mcnemar(a, b) == mcnemar(b, a)


@pytest.mark.parametrize("select", ["accuracy", "macro_accuracy", "log_loss"])
def test_a_paired_test_calls_equals_different_one_time_in_twenty(select):
    told_apart, draws = 0, 400
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        y = rng.integers(3, size=200)
        both = rng.random(200) < 0.5  # answers of two heads on the same rows go together
        a, b = (Votes(both | (rng.random(200) < 0.4), rng.exponential(size=200)) for _ in range(2))
        told_apart += not tied(y, a, b, select)
    assert 0.02 <= told_apart / draws <= 0.085


def test_tied_with_itself_and_not_with_the_much_worse():
    y = np.arange(100) % 4
    right = Votes(np.ones(100, bool), np.full(100, 0.1))
    wrong = Votes(np.arange(100) < 60, np.linspace(1, 3, 100))
    for select in metrics_of:
        assert p_value(y, right, right, select) == 1
        assert not tied(y, right, wrong, select)


def test_votes_read_a_zero_probability_as_the_metric_does():
    p = np.array([[1.0, 0.0], [0.25, 0.75]])
    y = np.array([1, 1])
    got = votes(y, p)
    assert got.right.tolist() == [False, True]
    assert got.loss.mean() == pytest.approx(metrics.log_loss(y, p))
