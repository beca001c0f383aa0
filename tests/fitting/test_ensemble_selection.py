"""Greedy selection, pooling, repeated folds and their intervals, against second derivations."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from ilk.artifacts import pack
from ilk.core.contracts import describe
from ilk.core.data import Data
from ilk.core.ensemble import Ensemble, Member, pool_log_probabilities
from ilk.core.leaderboard import Leaderboard
from ilk.core.metrics import softmax
from ilk.fitting.ensemble_selection import cross_fit_weights, select_weights
from ilk.fitting.ensemble_trial import LibraryItem, try_ensemble
from ilk.fitting.joined_features import join_features, list_columns
from ilk.fitting.leaderboard_builder import LeaderboardBuilder
from ilk.fitting.model_selection import rank_candidates
from ilk.methods import parse
from ilk.protocols import stratified_folds
from ilk.trust.column_detector import ColumnDetector
from ilk.trust.out_of_distribution import OutOfDistributionDetector

NAMES = tuple("abc")


def simulate_own(seed: int, n: int, skill: tuple[float, ...], shared: float = 0.0) -> np.ndarray:
    """Probabilities of the true of two classes, from logits with errors that are partly shared."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=n)
    z = [s + shared * common + (1 - shared) * rng.normal(size=n) for s in skill]
    return 1 / (1 + np.exp(-2 * np.array(z)))


def test_two_equal_and_independent_candidates_share_the_weight() -> None:
    weights = select_weights(simulate_own(0, 4000, (1.0, 1.0)))
    np.testing.assert_allclose(weights, [0.5, 0.5], atol=0.08)


def test_the_weights_are_near_the_best_mixture_of_a_grid() -> None:
    """The grid minimizes the log loss of the mean probability by brute force."""
    own = simulate_own(1, 3000, (1.2, 0.9, 0.4))
    grid = [w for w in product(np.linspace(0, 1, 21), repeat=3) if abs(sum(w) - 1) < 1e-9]
    losses = [-np.log(np.array(w) @ own).mean() for w in grid]
    loss = -np.log(select_weights(own) @ own).mean()
    assert loss < min(losses) + 0.003
    assert loss < min(-np.log(own).mean(1)) - 0.01  # better than each alone


def test_a_useless_candidate_and_a_copy_add_nothing() -> None:
    own = simulate_own(2, 2000, (1.5, 1.5), shared=1.0)
    noise = np.random.default_rng(0).uniform(0.01, 0.6, 2000)
    weights = select_weights(np.vstack([own[:1], noise]))
    assert weights[0] > 0.9
    assert select_weights(own[:1]).tolist() == [1.0]
    copies = np.vstack([own[:1], own[:1], own[:1]])
    assert select_weights(copies).sum() == pytest.approx(1)


def test_no_row_weighs_on_its_own_fold() -> None:
    """The planted fault: labels of one fold decide everything, and only its own rows say so."""
    own = simulate_own(3, 600, (1.0, 1.0))
    fold = np.arange(600) % 3
    changed = own.copy()
    changed[0, fold == 1] = 1e-6
    before, after = cross_fit_weights(own, fold), cross_fit_weights(changed, fold)
    np.testing.assert_array_equal(before[1], after[1])
    assert after[0, 0] < 0.1 < before[0, 0]


def test_the_pool_is_the_normalized_geometric_mean() -> None:
    rng = np.random.default_rng(4)
    p = softmax(rng.normal(size=(3, 50, 4)), axis=2)
    w = np.array([0.5, 0.2, 0.3])
    want = np.prod(p ** w[:, None, None], axis=0)
    got = softmax(pool_log_probabilities(list(p), list(2 * w)), axis=1)
    np.testing.assert_allclose(got, want / want.sum(1, keepdims=True), rtol=1e-10)
    per_row = [np.where(np.arange(50) < 25, 1.0, 0.0), np.where(np.arange(50) < 25, 0.0, 1.0)]
    p[1, :25] = 0  # with weight 0, an impossible class is no obstacle
    mixed = softmax(pool_log_probabilities(list(p[:2]), per_row), axis=1)
    np.testing.assert_allclose(mixed[:25], p[0, :25], rtol=1e-10)
    np.testing.assert_allclose(mixed[25:], p[1, 25:], rtol=1e-10)


def blobs(seed: int, per_class: int, d: int = 4, apart: float = 1.0) -> Data:
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(3), per_class)
    means = apart * np.random.default_rng(99).normal(size=(3, d))
    return Data((means[y] + rng.normal(size=(len(y), d))).astype(np.float32), y, NAMES)


def test_blocks_side_by_side_do_not_depend_on_their_units() -> None:
    data = blobs(0, 30, 6)
    scaled = Data(data.x * np.float32([1, 1, 1, 1000, 1000, 1000]), data.y, NAMES)
    method = Ensemble((Member(parse("GDA(shrink=0.5)"), ((0, 3), (3, 6))),))
    got, want = (softmax(method.fit(d).logits(d.x), axis=1) for d in (scaled, data))
    np.testing.assert_allclose(got, want, atol=1e-4)
    whole = Ensemble((Member(parse("GDA"), ((0, 6),), temperature=2.0),)).fit(data).logits(data.x)
    np.testing.assert_allclose(
        softmax(whole, 1), softmax(parse("GDA").fit(data).logits(data.x) / 2, 1), atol=1e-9
    )


def test_an_ensemble_survives_a_round_trip() -> None:
    data = blobs(1, 20, 6)
    members = (
        Member(parse("GDA"), ((0, 4),), 0.7, 1.5, 0.1),
        Member(parse("KNearest(k=3)"), ((0, 2), (4, 6)), 0.3),
    )
    model = Ensemble(members).fit(data)
    weights, descriptions = pack.pack({"model": model})
    restored = pack.unpack(weights, descriptions)["model"]
    np.testing.assert_array_equal(restored.logits(data.x), model.logits(data.x))
    assert len(restored.members) == 2
    assert np.isneginf(Ensemble(members).fit(data.take(data.y != 1)).logits(data.x)[:, 1]).all()


def test_joined_features_have_the_columns_that_are_listed() -> None:
    tables = {"a": blobs(0, 5, 3), "b": blobs(1, 5, 2)}
    joined, columns = join_features(["b", "a"], tables), list_columns(["b", "a"], tables)
    for name, (first, last) in columns.items():
        np.testing.assert_array_equal(joined.x[:, first:last], tables[name].x)


def test_the_comparison_does_not_reward_noise() -> None:
    """Twelve encoders of pure noise beside a good one: an ensemble is rarely used."""
    used = 0
    for seed in range(10):
        data = blobs(seed, 25)
        rng = np.random.default_rng(1000 + seed)
        noise = {
            f"noise {i}": Data(rng.normal(size=(75, 4)).astype(np.float32), data.y, NAMES)
            for i in range(4)
        }
        board = rank_candidates(
            {"good": data, **noise}, lambda _name: [parse("GDA")], combine=True, seed=seed
        )
        assert board.winner_encoders[0] == "good"
        used += len(board.winner_encoders) > 1
    assert used <= 2


def test_a_candidate_far_behind_is_stopped_and_no_other_changes() -> None:
    data = blobs(0, 60, apart=3.0)
    noise = np.random.default_rng(1).normal(size=data.x.shape).astype(np.float32)
    tables = {"hog/32": Data(noise, data.y, NAMES), "hog/16": data, "timm/x": data}
    boards = [
        rank_candidates(tables, lambda _n: [parse("GDA"), parse("Ridge")], stop_early=early)
        for early in (False, True)
    ]
    full, short = ({(r.encoder, r.method): r for r in board.results} for board in boards)
    for key, result in short.items():
        if key[0] == "hog/32":
            assert result.note.startswith("stopped after one of 5 folds: ")
            assert result.scores is None
            assert full[key].scores.accuracy.value < 0.5
        else:  # the first fold, done apart, and the others give what all of them give
            assert result.scores == full[key].scores


def build_board(data: Data, seed: int, **options: bool) -> Leaderboard:
    methods = [parse(text) for text in ("GDA", "Ridge", "KNearest(k=5)", "NaiveBayes")]
    return rank_candidates({"e": data}, {"e": methods}, seed=seed, **options)


def test_an_ensemble_wins_exactly_where_the_comparison_says_so() -> None:
    decisions = set()
    for seed in range(12):
        data = blobs(seed, 40, 8, apart=0.8)
        single, board = build_board(data, seed), build_board(data, seed, combine=True)
        combination, winner = board.combination, board.results[0]
        if combination is None:  # one candidate has all the weight
            continue
        decisions.add(combination.is_used)
        assert combination.baseline == (single.winner[0], describe(single.winner[1]))
        assert (winner.encoder, winner.method) == (board.winner[0], describe(board.winner[1]))
        if not combination.is_used:
            assert board.winner == single.winner
            np.testing.assert_array_equal(board.probabilities, single.probabilities)
            continue
        gain = winner.scores.accuracy.value - single.results[0].scores.accuracy.value
        assert gain == pytest.approx(combination.accuracy_gain.value)
        gain = single.results[0].scores.log_loss - winner.scores.log_loss
        assert gain == pytest.approx(combination.log_loss_gain.value, abs=1e-6)
        assert combination.log_loss_gain.value > 0
        assert combination.accuracy_gain.value >= 0
    assert decisions == {True, False}


def test_the_rows_of_a_fold_are_mixed_with_weights_from_the_other_folds() -> None:
    data = blobs(3, 40, 8, apart=0.8)
    fold = stratified_folds(data.y, 5, 0)
    builder = LeaderboardBuilder(data.y, fold, "log_loss")
    methods = [parse("GDA"), parse("KNearest(k=5)")]
    for method in methods:
        builder.evaluate_candidate("e", method, data, lambda _n: None)
    library = [LibraryItem(("e",), m, builder.kept[i]) for i, m in enumerate(methods)]
    trial = try_ensemble(builder, library)
    p = [item.runs[0].probabilities for item in library]
    own = np.array([q[np.arange(len(data)), data.y] for q in p])
    for f in range(5):
        rows, weights = fold == f, select_weights(own[:, fold != f])
        want = pool_log_probabilities([q[rows] for q in p], list(weights))
        np.testing.assert_allclose(trial.runs[0].logits[rows], want, rtol=1e-9)
    assert len(np.unique(trial.fold_weights, axis=0)) > 1


def test_a_detector_of_columns_equals_one_of_these_columns_alone() -> None:
    data = blobs(4, 30, 6)
    part = Data(data.x[:, 2:5], data.y, NAMES)
    inner = OutOfDistributionDetector.fit(part, np.arange(90.0))
    detector = ColumnDetector.from_detector(inner, 2)
    np.testing.assert_array_equal(detector.score(data.x), inner.score(part.x))
    mean = data.x[0].astype(np.float64)
    moved = detector.with_mean(mean, 1)
    want = inner.with_mean(mean[2:5], 1)
    np.testing.assert_array_equal(moved.score(data.x), want.score(part.x))


def test_without_an_encoder_the_columns_move_and_a_spare_takes_over() -> None:
    data = blobs(5, 30, 6)
    gda = parse("GDA")
    members = (
        Member(gda, ((0, 2), (2, 6)), 0.6),
        Member(gda, ((2, 6),), 0.4, 2.0),
        Member(gda, ((0, 2),), 0.0),
    )
    model = Ensemble(members).fit(data)
    assert Ensemble(members).description == "Ensemble of 2"
    right = Ensemble((Member(gda, ((0, 4),), 0.4, 2.0),)).fit(Data(data.x[:, 2:], data.y, NAMES))
    np.testing.assert_allclose(
        model.drop_columns(0, 2).logits(data.x[:, 2:]), right.logits(data.x[:, 2:])
    )
    left = Ensemble((Member(gda, ((0, 2),)),)).fit(Data(data.x[:, :2], data.y, NAMES))
    np.testing.assert_allclose(
        model.drop_columns(2, 6).logits(data.x[:, :2]), left.logits(data.x[:, :2])
    )
    with_spare = softmax(model.logits(data.x), 1)
    without = softmax(Ensemble(members[:2]).fit(data).logits(data.x), 1)
    np.testing.assert_array_equal(with_spare, without)
