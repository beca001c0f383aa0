"""Which rows are kept, what is chosen, and what is said to be lost."""

from __future__ import annotations

import numpy as np
import pytest

from ilk.core.data import Data
from ilk.core.errors import InputError, NoLabels
from ilk.subset_selection.choose_rows import allot, choose_rows
from ilk.subset_selection.select_rows import SelectionConfig, reduce_features, select_rows
from ilk.subset_selection.trials import (
    ALL,
    RANDOM,
    Trials,
    _compute_log_density,
    _pick_judged,
    count_kept,
    run_trials,
)
from ilk.subset_selection.verdict import compute_difference, estimate_optimism, reach_verdict


def make_gaussians(n, seed, distance=2.0, noise=0.0):
    """Rows of three Gaussians in 6 dimensions; a part of the labels is drawn anew."""
    rng = np.random.default_rng(seed)
    means = distance * np.eye(3, 6)
    y = np.arange(n) % 3
    x = (means[y] + rng.standard_normal((n, 6))).astype(np.float32)
    wrong = rng.random(n) < noise
    return Data(x, np.where(wrong, rng.integers(0, 3, n), y), tuple("abc"))


def test_classes_keep_their_proportions_and_at_least_one_row():
    np.testing.assert_array_equal(allot(np.array([60, 30, 10]), 10, "proportional"), [6, 3, 1])
    np.testing.assert_array_equal(allot(np.array([96, 2, 2]), 10, "proportional"), [8, 1, 1])
    for count in range(3, 101):
        quotas = allot(np.array([96, 2, 2]), count, "proportional")
        assert quotas.sum() == count
        assert (quotas >= 1).all()
        assert (quotas <= [96, 2, 2]).all()


def test_balanced_classes_are_equal_as_far_as_they_last():
    np.testing.assert_array_equal(allot(np.array([50, 3, 20]), 30, "balanced"), [14, 3, 13])
    np.testing.assert_array_equal(allot(np.array([50, 50]), 20, "balanced"), [10, 10])
    for count in range(3, 74):
        assert allot(np.array([50, 3, 20]), count, "balanced").sum() == count


def test_the_highest_scores_of_each_class_are_kept_best_first():
    scores = np.array([5.0, 4, 3, 2, 9, 8])
    y = np.array([0, 0, 0, 0, 1, 1])
    np.testing.assert_array_equal(choose_rows(scores, y, 3, "proportional"), [4, 0, 1])
    np.testing.assert_array_equal(choose_rows(scores, y, 4, "balanced"), [4, 5, 0, 1])
    np.testing.assert_array_equal(choose_rows(scores, y, 3, "free"), [4, 5, 0])
    np.testing.assert_array_equal(choose_rows(np.zeros(6), y, 2, "free"), [0, 1])


@pytest.mark.parametrize(
    ("keep", "match"),
    [(0.0, "0; give"), (-1, "-1; give"), (float("nan"), "nan"), (2.5, "neither"), (np.inf, "inf")],
)
def test_what_is_no_fraction_and_no_number_is_refused(keep, match):
    with pytest.raises(InputError, match=match):
        SelectionConfig(keep)


def test_a_fraction_a_number_and_their_bounds():
    assert SelectionConfig(0.3).count(10, 3) == 3
    assert SelectionConfig(1).count(10, 3) == 10
    assert SelectionConfig(7).count(10, 3) == 7
    with pytest.raises(InputError, match="11 and there are 10"):
        SelectionConfig(11).count(10, 3)
    with pytest.raises(InputError, match=r"keeps 2 of 10 images, and at least one per class \(3\)"):
        SelectionConfig(0.2).count(10, 3)
    with pytest.raises(InputError, match="keeps 0 of 10"):
        SelectionConfig(0.01).count(10, 0)


def test_labels_are_needed_without_a_target():
    data = make_gaussians(30, 0)
    hidden = Data(data.x, np.full(30, -1), data.classes)
    with pytest.raises(NoLabels, match="give labels"):
        select_rows(hidden, None, SelectionConfig(0.5))
    with pytest.raises(NoLabels, match="give labels"):
        select_rows(hidden, data, SelectionConfig(0.5, balance=True))
    with pytest.raises(InputError, match="--target"):
        select_rows(data, None, SelectionConfig(0.5, method="ColorFilter"))
    with pytest.raises(NoLabels, match="EL2N"):
        select_rows(hidden, data, SelectionConfig(0.5, method="EL2N"))


def test_with_wrong_labels_easy_rows_are_kept_and_the_gain_is_true():
    train, test = make_gaussians(360, 0, noise=0.35), make_gaussians(3000, 1)
    chosen = select_rows(train, None, SelectionConfig(0.25))
    assert chosen.verdict is not None
    assert chosen.selector == chosen.verdict.best
    assert chosen.selector in ("EL2N", "Herding", "Moderate")
    assert chosen.verdict.gain.low > 0
    assert len(chosen.kept) == 90
    from ilk.maths.out_of_fold import fit_head, predict_proba

    def measure(rows):
        return np.mean(predict_proba(fit_head(train.take(rows)), test.x).argmax(1) == test.y)

    rng = np.random.default_rng(0)
    random = np.mean([measure(rng.permutation(360)[:90]) for _ in range(5)])
    assert measure(chosen.kept) > random


def test_no_row_is_judged_by_a_head_that_saw_it():
    """Labels that mean nothing are not predicted, whatever was kept."""
    rng = np.random.default_rng(4)
    data = Data(rng.standard_normal((240, 5)).astype(np.float32), rng.integers(0, 4, 240), "abcd")
    trials = run_trials(data, None, ["EL2N", "Herding"], 0.5, "proportional")
    assert trials is not None
    for values in trials.values.values():
        assert 0.1 < values.mean() < 0.4
    chosen = select_rows(data, None, SelectionConfig(0.5))
    assert chosen.selector == "RandomSubset"


def test_the_best_of_many_equal_rules_is_not_better_than_random():
    rng = np.random.default_rng(0)
    values = {str(i): (rng.random(200) < 0.5).astype(float) for i in range(12)}
    common = {ALL: np.full(200, 0.5), RANDOM: np.full(200, 0.5)}
    verdict = reach_verdict(
        Trials({**values, **common}, np.full(200, -1), np.arange(200) % 5, "accuracy")
    )
    best = max(row.mean() for row in values.values())
    assert verdict.kept.value < best - 0.02
    assert verdict.selector == "RandomSubset"


def test_optimism_is_what_new_rows_take_back():
    """On rows drawn anew the best of ten equal rules falls by about the bootstrap's estimate."""
    rng = np.random.default_rng(1)
    falls, estimates = [], []
    for seed in range(40):
        values = (rng.random((10, 100)) < 0.5).astype(float)
        falls.append(values.mean(1).max() - 0.5)
        estimates.append(estimate_optimism(values, np.full(100, -1), seed))
    assert np.mean(estimates) == pytest.approx(np.mean(falls), rel=0.35)
    assert estimate_optimism(values[:1], np.full(100, -1), 0) == 0


def test_the_interval_of_a_difference_is_that_of_folds_that_share_rows():
    values = np.array([1.0, 3.0, 2.0, 2.0, 6.0, 4.0])
    fold = np.array([0, 0, 1, 1, 2, 2])
    interval = compute_difference(values, fold)  # means 2, 2 and 5
    variance = ((2 - 3) ** 2 + (2 - 3) ** 2 + (5 - 3) ** 2) / 2
    half = 4.302653 * np.sqrt((1 / 3 + 1 / 2) * variance)  # Student's t, 2 degrees of freedom
    assert interval.value == pytest.approx(3)
    assert interval.high - 3 == pytest.approx(half, rel=1e-5)
    assert compute_difference(values, fold, -0.5).low == pytest.approx(2.5 - half, rel=1e-5)


def test_a_clear_gain_is_kept_and_a_named_rule_is_used_as_it_is():
    rng = np.random.default_rng(0)
    better = (rng.random(300) < 0.9).astype(float)
    worse = (rng.random(300) < 0.3).astype(float)
    random = np.full(300, 0.6)
    groups, fold = np.full(300, -1), np.arange(300) % 5
    values = {"Herding": better, "KCenter": worse, ALL: np.ones(300), RANDOM: random}
    verdict = reach_verdict(Trials(values, groups, fold, "accuracy"))
    assert verdict.selector == "Herding"
    assert verdict.gain.low > 0.1
    assert verdict.loss.value == pytest.approx(1 - better.mean(), abs=0.02)
    named = Trials({"KCenter": worse, ALL: np.ones(300), RANDOM: random}, groups, fold, "accuracy")
    verdict = reach_verdict(named, is_chosen=False)
    assert verdict.selector == "KCenter"
    assert verdict.gain.high < 0


def test_a_target_decides_which_part_of_the_source_is_kept():
    near, far = make_gaussians(90, 0), make_gaussians(210, 1)
    source = near.concat(Data(far.x + 6, (far.y + 1) % 3, far.classes))
    target = make_gaussians(60, 2)
    chosen = select_rows(source, target, SelectionConfig(60))
    assert chosen.mode == "free"
    assert (chosen.kept < 90).mean() > 0.95
    assert chosen.verdict is not None
    assert chosen.verdict.measure == "accuracy"
    assert chosen.verdict.n == 60
    hidden = Data(target.x, np.full(60, -1), target.classes)
    chosen = select_rows(source, hidden, SelectionConfig(60))
    assert chosen.verdict is not None
    assert chosen.verdict.measure == "log density"
    assert chosen.verdict.gain.low > 0
    assert (chosen.kept < 90).mean() > 0.95


def test_balance_holds_with_a_target_too():
    chosen = select_rows(
        make_gaussians(90, 0), make_gaussians(30, 1), SelectionConfig(30, balance=True)
    )
    assert (np.bincount(chosen.kept % 3) == 10).all()


def test_too_few_images_to_leave_some_out_are_selected_unchecked():
    data = make_gaussians(3, 0).concat(make_gaussians(1, 1))
    chosen = select_rows(data, None, SelectionConfig(3))
    assert chosen.verdict is None or chosen.verdict.n == 4
    single = make_gaussians(3, 0)
    assert select_rows(single, None, SelectionConfig(3)).verdict is None


def test_with_a_target_a_rule_is_used_unless_it_is_clearly_worse():
    rng = np.random.default_rng(0)
    groups, fold = np.full(200, -1), np.arange(200) % 5
    level = (rng.random(200) < 0.62).astype(float)
    for rate, used in ((0.6, "ColorFilter"), (0.95, "RandomSubset")):
        values = {"ColorFilter": level, ALL: level, RANDOM: np.full(200, rate)}
        trials = Trials(values, groups, fold, "accuracy")
        assert reach_verdict(trials, needs_proof=False).selector == used
        assert reach_verdict(trials).selector == "RandomSubset"


def test_no_row_of_the_target_guides_the_selection_that_it_judges(monkeypatch):
    from ilk.subset_selection import trials as module

    guides = []
    parse = module.parse_selector

    class Spy:
        def __init__(self, text):
            self.selector = parse(text)

        def score(self, source, target, seed):
            guides.append(target)
            return self.selector.score(source, target, seed)

    monkeypatch.setattr(module, "parse_selector", Spy)
    source, target = make_gaussians(90, 0), make_gaussians(60, 1)
    trials = run_trials(source, target, ["NearestTarget"], 0.3, "free")
    assert trials is not None
    assert len(guides) == trials.fold.max() + 1 > 1
    for f, guide in enumerate(guides):
        assert np.array_equal(guide.x, target.x[trials.fold != f])


def test_the_gain_is_corrected_for_the_choice_as_what_is_kept_is():
    rng = np.random.default_rng(0)
    fold = np.arange(200) % 5
    names = [*(f"rule {i}" for i in range(20)), ALL, RANDOM]
    values = {name: (rng.random(200) < 0.7).astype(float) for name in names}
    trials = Trials(values, np.full(200, -1), fold, "accuracy")
    verdict = reach_verdict(trials)
    assert verdict.means[verdict.best] - verdict.kept.value > 0.01
    assert np.isclose(verdict.gain.value, verdict.kept.value - verdict.random.value)


def make_trials(m=200):
    rng = np.random.default_rng(0)
    names = [*(f"rule {i}" for i in range(20)), ALL, RANDOM]
    values = {name: (rng.random(m) < 0.7).astype(float) for name in names}
    return Trials(values, np.full(m, -1), np.arange(m) % 5, "accuracy")


def test_the_loss_is_what_keeping_all_gives_minus_what_is_kept():
    trials = make_trials()
    verdict = reach_verdict(trials, is_chosen=False)
    assert verdict.selector == verdict.best
    assert verdict.loss.value == pytest.approx(verdict.all.value - verdict.kept.value)
    assert verdict.loss.value > verdict.all.value - verdict.means[verdict.best] + 0.01


def test_copies_of_a_row_make_nothing_surer():
    trials = make_trials(60)
    tenfold = {name: np.repeat(row, 10) for name, row in trials.values.items()}
    groups, fold = np.repeat(np.arange(60), 10), np.repeat(trials.fold, 10)
    alone = reach_verdict(trials)
    together = reach_verdict(Trials(tenfold, groups, fold, "accuracy"))
    for name in ("all", "kept", "random"):
        one, other = getattr(alone, name), getattr(together, name)
        assert other.high - other.low == pytest.approx(one.high - one.low, rel=0.1)
    rules = np.stack([row for name, row in tenfold.items() if name.startswith("rule")])
    original = np.stack([row for name, row in trials.values.items() if name.startswith("rule")])
    expected = estimate_optimism(original, np.full(60, -1), 0)
    assert estimate_optimism(rules, groups, 0) == pytest.approx(expected, rel=0.25)
    assert estimate_optimism(rules, np.full(600, -1), 0) < 0.7 * expected


def test_wide_features_are_read_in_their_main_axes():
    rng = np.random.default_rng(0)
    scale = np.linspace(3, 0.1, 200)
    data, target = (
        Data(
            (5 + scale * rng.standard_normal((n, 200))).astype(np.float32), np.zeros(n, int), ("a",)
        )
        for n in (300, 7)
    )
    reduced, other = reduce_features(data, target)
    assert reduced.x.shape == (300, 128)
    centred = data.x - data.x.mean(0)
    axes = np.linalg.svd(centred, full_matrices=False)[2][:128]
    np.testing.assert_allclose(
        np.abs(reduced.x[:, :20]), np.abs(centred @ axes.T)[:, :20], atol=1e-2
    )
    expected = (target.x - data.x.mean(0)) @ axes.T
    np.testing.assert_allclose(np.abs(other.x[:, :20]), np.abs(expected[:, :20]), atol=1e-2)
    assert reduce_features(make_gaussians(30, 0), None)[1] is None


def test_rows_of_the_source_in_the_target_do_not_judge(monkeypatch):
    from ilk.subset_selection import select_rows as module

    judges = []
    monkeypatch.setattr(module, "run_trials", lambda _source, target, *_: judges.append(target))
    source, target = make_gaussians(60, 0), make_gaussians(20, 1)
    is_new = np.arange(20) % 4 > 0
    chosen = select_rows(source, target, SelectionConfig(20), is_new=is_new)
    assert np.array_equal(judges[0].x, target.x[is_new])
    assert chosen.selector == "TargetDiscriminator"  # where nothing could be measured
    assert chosen.verdict is None
    assert select_rows(source, None, SelectionConfig(20)).selector == "RandomSubset"


def test_the_seed_decides_what_is_random():
    kept = [
        set(
            select_rows(
                make_gaussians(60, 0), None, SelectionConfig(20, method="RandomSubset", seed=s)
            ).kept
        )
        for s in (0, 0, 1)
    ]
    assert kept[0] == kept[1] != kept[2]


def test_the_largest_remainder_gets_the_row_that_is_left():
    np.testing.assert_array_equal(allot(np.array([45, 35, 20]), 7, "proportional"), [3, 3, 1])


def test_numbers_of_trials_are_rounded_and_only_known_classes_are_judged():
    source = make_gaussians(20, 0)
    assert count_kept(source, 0.3, "free") == 6
    assert count_kept(source, 0.28, "free") == 6
    assert count_kept(source, 0.01, "free") == 1
    assert count_kept(source, 0.01, "proportional") == 3
    two = source.take(source.y < 2)
    judged = _pick_judged(two, make_gaussians(30, 1))
    assert set(judged.y.tolist()) == {0, 1}
    assert len(judged) == 20


def test_a_density_is_one_per_feature():
    kept, rows = make_gaussians(60, 0), make_gaussians(30, 1)
    twice = [Data(np.tile(d.x, 2), d.y, d.classes) for d in (kept, rows)]
    np.testing.assert_allclose(
        _compute_log_density(kept, rows),
        _compute_log_density(*twice),
        atol=0.15,  # classes are told apart more surely
    )
