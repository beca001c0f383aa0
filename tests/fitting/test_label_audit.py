"""Rankings and effect of the audit against plain implementations, and planted label errors."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from ilk.cli.audit import command
from ilk.core.data import Data
from ilk.core.errors import InputError, UnknownName
from ilk.core.metrics import score
from ilk.fitting import label_audit as audit
from ilk.fitting.label_audit import INNER_FOLDS, find_confused_pairs, measure_cleaning
from ilk.fitting.selection_statistics import mcnemar_p_value
from ilk.methods.gda import GDA
from ilk.methods.nearest_mean import NearestClassMean
from ilk.protocols import stratified_folds, symmetric_noise
from ilk.trust.calibration import cross_calibrate
from ilk.trust.label_errors import DEFAULT_RANKING, LabelErrors


def answers(n=80, k=4, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(k, size=n)
    p = rng.dirichlet(np.ones(k), n) + 0.5 * np.eye(k)[y]
    y = np.where(rng.random(n) < 0.2, (y + 1) % k, y)
    y[:3], p[3:5] = -1, np.nan
    return p / p.sum(1, keepdims=True), y


@pytest.mark.parametrize("ranking", ["margin", "self_confidence", "joint"])
def test_rankings_agree_with_their_definitions(ranking):
    p, y = answers()
    result, whole = LabelErrors.find(p, y, ranking), LabelErrors.find(p, y)
    suspect = dict(zip(whole.rows, whole.is_suspect, strict=True))
    for at, i in enumerate(result.rows):
        others = [(p[i, j], j) for j in range(4) if j != y[i]]
        margin = (1 - (p[i, y[i]] - max(others)[0])) / 2
        expected = {
            "margin": margin,
            "self_confidence": 1 - p[i, y[i]],
            "joint": (suspect[i] + margin) / 2,
        }
        np.testing.assert_allclose(result.score[at], expected[ranking])
        assert result.suggested_label[at] == max(others)[1]
        assert result.is_suspect[at] == suspect[i]
    assert sorted(result.rows) == sorted(whole.rows) == list(range(5, 80))
    assert (np.diff(result.score) <= 0).all()


def test_an_unknown_ranking_is_refused():
    p, y = answers()
    with pytest.raises(UnknownName, match="ranking of labels is called 'margins'"):
        LabelErrors.find(p, y, "margins")
    with pytest.raises(UnknownName, match="ranking of labels"):
        measure_cleaning(
            GDA(), Data(np.eye(4), [0, 0, 1, 1], ("a", "b")), np.zeros(4, int), ranking="x"
        )


def test_confused_pairs_are_sorted_and_exclude_correct_labels():
    p = LabelErrors.find(*answers())
    pairs = find_confused_pairs(p, 3)
    off = p.joint - np.diag(np.diag(p.joint))
    assert [n for _, _, n in pairs] == sorted(off.ravel())[::-1][:3]
    assert all(p.joint[a, b] == n and a != b for a, b, n in pairs)
    y = np.arange(30) % 3
    assert find_confused_pairs(LabelErrors.find(0.97 * np.eye(3)[y] + 0.01, y)) == []


def test_the_command_has_the_same_default_ranking():
    (option,) = [p for p in command.params if p.name == "ranking"]
    assert option.default == DEFAULT_RANKING


def digits(n=500, noise=0.2, seed=0):
    x, y = load_digits(return_X_y=True)
    rows = np.random.default_rng(seed).permutation(len(y))[:n]
    clean = Data((x[rows] / 16).astype(np.float32), y[rows], tuple("0123456789"))
    return symmetric_noise(clean, noise, seed), clean


def slow_effect(method, data, fold, fraction):
    """For each outer fold, audit and clean the other folds and predict the fold."""
    z = {variant: np.zeros((len(data), data.k)) for variant in ("given", "removed", "relabelled")}
    for f in range(fold.max() + 1):
        train, test = np.flatnonzero(fold != f), np.flatnonzero(fold == f)
        inner = stratified_folds(data.y[train], INNER_FOLDS)
        out_of_fold = np.zeros((len(train), data.k))
        for g in range(INNER_FOLDS):
            model = method.fit(data.take(train[inner != g]))
            out_of_fold[inner == g] = model.logits(data.x[train[inner == g]])
        p, y = cross_calibrate(out_of_fold, data.y[train], inner), data.y[train].copy()
        own = p[np.arange(len(y)), y]
        worst = np.argsort(own)[: round(fraction * len(train))]
        p[np.arange(len(y)), y] = -1
        y[worst] = p[worst].argmax(1)
        keep = np.setdiff1d(np.arange(len(train)), worst)
        for variant, part in (
            ("given", data.take(train)),
            ("removed", data.take(train[keep])),
            ("relabelled", Data(data.x[train], y, data.classes)),
        ):
            z[variant][test] = method.fit(part).logits(data.x[test])
    return {variant: cross_calibrate(p, data.y, fold) for variant, p in z.items()}


def test_the_effect_agrees_with_a_plain_implementation():
    data, _ = digits(300)
    fold = stratified_folds(data.y, 4, 1)
    result = measure_cleaning(NearestClassMean(), data, fold, (0.1,))
    slow = slow_effect(NearestClassMean(), data, fold, 0.1)
    (one,) = result.results
    for scores, variant in (
        (result.baseline, "given"),
        (one.removed, "removed"),
        (one.relabelled, "relabelled"),
    ):
        expected = score(data.y, slow[variant])
        np.testing.assert_allclose(scores.log_loss, expected.log_loss, rtol=1e-9)
        assert scores.accuracy == expected.accuracy
    right = {variant: p.argmax(1) == data.y for variant, p in slow.items()}
    b = int(np.sum(right["given"] & ~right["removed"]))
    c = int(np.sum(right["removed"] & ~right["given"]))
    assert one.removed_p_value == pytest.approx(mcnemar_p_value(b, c))


def test_cleaning_planted_errors_helps_and_cleaning_correct_labels_hurts():
    noisy, clean = digits(900, 0.3)
    fold = stratified_folds(noisy.y, 5, 0)
    result = measure_cleaning(GDA(), noisy, fold, (0.25,))
    assert result.results[0].relabelled.accuracy.value > result.baseline.accuracy.value + 0.01
    assert result.results[0].relabelled_p_value < 0.01
    fine = measure_cleaning(GDA(), clean, stratified_folds(clean.y, 5, 0), (0.4,))
    assert fine.results[0].relabelled.accuracy.value < fine.baseline.accuracy.value - 0.02


def test_no_class_disappears_and_unlabelled_rows_remain():
    noisy, _ = digits(120, 0.3)
    y = noisy.y.copy()
    y[:20] = -1
    tiny = Data(noisy.x, y, noisy.classes)
    result = measure_cleaning(NearestClassMean(), tiny, stratified_folds(y, 5), (0.9,))
    assert result.baseline.n == int((stratified_folds(y, 5) >= 0).sum())
    assert np.isfinite(result.results[0].removed.log_loss)
    assert result.results[0].removed.log_loss < 10  # every class keeps a row


@pytest.mark.parametrize("fraction", [0.0, 1.0, float("nan")])
def test_fractions_out_of_range_are_refused(fraction):
    data, _ = digits(60)
    with pytest.raises(InputError, match="cannot clean a fraction"):
        measure_cleaning(GDA(), data, stratified_folds(data.y, 2), (fraction,))


def test_classes_with_a_single_image_are_refused():
    data = Data(np.eye(3, dtype=np.float32), [0, 1, 2], ("a", "b", "c"))
    with pytest.raises(InputError, match="single labelled image"):
        measure_cleaning(GDA(), data, stratified_folds(data.y))


def test_unlabelled_rows_remain_and_do_not_count_as_labels():
    """A fraction of 0.1 of 100 labels and 60 unlabelled rows is 10 rows."""
    noisy, _ = digits(160, 0.3)
    y = noisy.y.copy()
    y[:60] = -1
    given = Data(noisy.x, y, noisy.classes)
    removed, relabelled = audit._clean_labels(NearestClassMean(), given, (0.1,), DEFAULT_RANKING)
    assert len(removed) == 150
    assert (removed.y < 0).sum() == (relabelled.y < 0).sum() == 60
    assert (relabelled.y != y).sum() == 10


def test_removing_and_relabelling_have_separate_p_values():
    data, _ = digits(300)
    fold = stratified_folds(data.y, 4, 1)
    (one,) = measure_cleaning(NearestClassMean(), data, fold, (0.3,)).results
    right = {
        w: p.argmax(1) == data.y
        for w, p in slow_effect(NearestClassMean(), data, fold, 0.3).items()
    }
    for variant, p in (("removed", one.removed_p_value), ("relabelled", one.relabelled_p_value)):
        lost, won = right["given"] & ~right[variant], right[variant] & ~right["given"]
        assert p == pytest.approx(mcnemar_p_value(int(lost.sum()), int(won.sum()))), variant
    assert one.removed_p_value != one.relabelled_p_value
