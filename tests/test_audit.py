"""The audit's rankings and its effect beside slow twins, and planted errors among digits."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from ilk.cli.audit import command
from ilk.data import Data
from ilk.errors import InputError, UnknownName
from ilk.evaluate import stratified_folds
from ilk.methods.gda import GDA
from ilk.methods.nearest_mean import NearestClassMean
from ilk.metrics import score
from ilk.protocols import symmetric_noise
from ilk.selection import mcnemar
from ilk.trust import audit
from ilk.trust.audit import INNER, confused, effect
from ilk.trust.calibrate import cross_fitted
from ilk.trust.suspects import DEFAULT, Suspects


def answers(n=80, k=4, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(k, size=n)
    p = rng.dirichlet(np.ones(k), n) + 0.5 * np.eye(k)[y]
    y = np.where(rng.random(n) < 0.2, (y + 1) % k, y)
    y[:3], p[3:5] = -1, np.nan
    return p / p.sum(1, keepdims=True), y


@pytest.mark.parametrize("by", ["margin", "self_confidence", "joint"])
def test_rankings_are_what_they_say(by):
    p, y = answers()
    got, whole = Suspects.find(p, y, by), Suspects.find(p, y)
    suspect = dict(zip(whole.rows, whole.is_suspect, strict=True))
    for at, i in enumerate(got.rows):
        others = [(p[i, j], j) for j in range(4) if j != y[i]]
        margin = (1 - (p[i, y[i]] - max(others)[0])) / 2
        expected = {
            "margin": margin,
            "self_confidence": 1 - p[i, y[i]],
            "joint": (suspect[i] + margin) / 2,
        }
        np.testing.assert_allclose(got.score[at], expected[by])
        assert got.suggested[at] == max(others)[1]
        assert got.is_suspect[at] == suspect[i]
    assert sorted(got.rows) == sorted(whole.rows) == list(range(5, 80))
    assert (np.diff(got.score) <= 0).all()


def test_an_unknown_ranking_is_refused():
    p, y = answers()
    with pytest.raises(UnknownName, match="ranking of labels is called 'margins'"):
        Suspects.find(p, y, "margins")
    with pytest.raises(UnknownName, match="ranking of labels"):
        effect(GDA(), Data(np.eye(4), [0, 0, 1, 1], ("a", "b")), np.zeros(4, int), by="x")


def test_the_kinds_most_confused_come_first_and_right_ones_not_at_all():
    found = Suspects.find(*answers())
    told = confused(found, 3)
    off = found.joint - np.diag(np.diag(found.joint))
    assert [n for _, _, n in told] == sorted(off.ravel())[::-1][:3]
    assert all(found.joint[a, b] == n and a != b for a, b, n in told)
    y = np.arange(30) % 3
    assert confused(Suspects.find(0.97 * np.eye(3)[y] + 0.01, y)) == []


def test_the_command_names_the_same_default_without_importing_it():
    (option,) = [p for p in command.params if p.name == "by"]
    assert option.default == DEFAULT


def digits(n=500, noise=0.2, seed=0):
    x, y = load_digits(return_X_y=True)
    rows = np.random.default_rng(seed).permutation(len(y))[:n]
    clean = Data((x[rows] / 16).astype(np.float32), y[rows], tuple("0123456789"))
    return symmetric_noise(clean, noise, seed), clean


def slow_effect(method, data, fold, share):
    """Outer fold by outer fold: audit the rest by itself, treat it, answer for the fold."""
    z = {way: np.zeros((len(data), data.k)) for way in ("given", "removed", "relabelled")}
    for f in range(fold.max() + 1):
        train, test = np.flatnonzero(fold != f), np.flatnonzero(fold == f)
        inner = stratified_folds(data.y[train], INNER)
        held = np.zeros((len(train), data.k))
        for g in range(INNER):
            model = method.fit(data.rows(train[inner != g]))
            held[inner == g] = model.logits(data.x[train[inner == g]])
        p, y = cross_fitted(held, data.y[train], inner), data.y[train].copy()
        own = p[np.arange(len(y)), y]
        worst = np.argsort(own)[: round(share * len(train))]
        p[np.arange(len(y)), y] = -1
        y[worst] = p[worst].argmax(1)
        keep = np.setdiff1d(np.arange(len(train)), worst)
        for way, part in (
            ("given", data.rows(train)),
            ("removed", data.rows(train[keep])),
            ("relabelled", Data(data.x[train], y, data.classes)),
        ):
            z[way][test] = method.fit(part).logits(data.x[test])
    return {way: cross_fitted(found, data.y, fold) for way, found in z.items()}


def test_the_effect_is_that_of_a_slow_twin():
    data, _ = digits(300)
    fold = stratified_folds(data.y, 4, 1)
    got = effect(NearestClassMean(), data, fold, (0.1,))
    slow = slow_effect(NearestClassMean(), data, fold, 0.1)
    (one,) = got.cleaned
    for scores, way in (
        (got.given, "given"),
        (one.removed, "removed"),
        (one.relabelled, "relabelled"),
    ):
        expected = score(data.y, slow[way])
        np.testing.assert_allclose(scores.log_loss, expected.log_loss, rtol=1e-9)
        assert scores.accuracy == expected.accuracy
    right = {way: p.argmax(1) == data.y for way, p in slow.items()}
    b = int(np.sum(right["given"] & ~right["removed"]))
    c = int(np.sum(right["removed"] & ~right["given"]))
    assert one.removed_p == pytest.approx(mcnemar(b, c))


def test_treating_planted_errors_helps_and_treating_right_labels_hurts():
    noisy, clean = digits(900, 0.3)
    fold = stratified_folds(noisy.y, 5, 0)
    got = effect(GDA(), noisy, fold, (0.25,))
    assert got.cleaned[0].relabelled.accuracy.value > got.given.accuracy.value + 0.01
    assert got.cleaned[0].relabelled_p < 0.01
    fine = effect(GDA(), clean, stratified_folds(clean.y, 5, 0), (0.4,))
    assert fine.cleaned[0].relabelled.accuracy.value < fine.given.accuracy.value - 0.02


def test_no_class_goes_and_rows_without_a_label_stay():
    noisy, _ = digits(120, 0.3)
    y = noisy.y.copy()
    y[:20] = -1
    tiny = Data(noisy.x, y, noisy.classes)
    got = effect(NearestClassMean(), tiny, stratified_folds(y, 5), (0.9,))
    assert got.given.n == int((stratified_folds(y, 5) >= 0).sum())
    assert np.isfinite(got.cleaned[0].removed.log_loss)
    assert got.cleaned[0].removed.log_loss < 10  # no row of a class that nobody could answer


@pytest.mark.parametrize("share", [0.0, 1.0, float("nan")])
def test_a_share_that_is_none_is_refused(share):
    data, _ = digits(60)
    with pytest.raises(InputError, match="labels cannot be treated"):
        effect(GDA(), data, stratified_folds(data.y, 2), (share,))


def test_where_nothing_can_be_held_out_it_says_so():
    data = Data(np.eye(3, dtype=np.float32), [0, 1, 2], ("a", "b", "c"))
    with pytest.raises(InputError, match="single labelled image"):
        effect(GDA(), data, stratified_folds(data.y))


def test_rows_without_a_label_go_along_and_are_none_of_the_labels_treated():
    """Shares are of the labels: 100 labels and 60 rows without one give 10 at a tenth."""
    noisy, _ = digits(160, 0.3)
    y = noisy.y.copy()
    y[:60] = -1
    given = Data(noisy.x, y, noisy.classes)
    removed, relabelled = audit._treated(NearestClassMean(), given, (0.1,), DEFAULT)
    assert len(removed) == 150
    assert (removed.y < 0).sum() == (relabelled.y < 0).sum() == 60
    assert (relabelled.y != y).sum() == 10


def test_either_treatment_has_a_p_of_its_own():
    data, _ = digits(300)
    fold = stratified_folds(data.y, 4, 1)
    (one,) = effect(NearestClassMean(), data, fold, (0.3,)).cleaned
    right = {
        w: p.argmax(1) == data.y
        for w, p in slow_effect(NearestClassMean(), data, fold, 0.3).items()
    }
    for way, p in (("removed", one.removed_p), ("relabelled", one.relabelled_p)):
        lost, won = right["given"] & ~right[way], right[way] & ~right["given"]
        assert p == pytest.approx(mcnemar(int(lost.sum()), int(won.sum()))), way
    assert one.removed_p != one.relabelled_p
