"""The verbs `extend` and `leave_one_out_logits`, checked for every method that has them."""

from dataclasses import dataclass, fields, replace

import numpy as np
import pytest

from helpers.contract_checks import check_equal, check_savable
from ilk.core.contracts import Extendable, LeavesOneOut
from ilk.core.data import Data
from ilk.core.metrics import softmax
from ilk.core.statistics import Statistics
from ilk.maths.gaussian import compute_statistics
from ilk.methods import list_methods
from ilk.methods.gda import GDA
from ilk.methods.k_nearest import KNearest

METHODS = list_methods()
EXTENDABLE = {name: kind for name, kind in METHODS.items() if isinstance(kind(), Extendable)}
LEAVES_ONE_OUT = {name: kind for name, kind in METHODS.items() if isinstance(kind(), LeavesOneOut)}
extendable = pytest.mark.parametrize("kind", EXTENDABLE.values(), ids=EXTENDABLE)
leaves_one_out = pytest.mark.parametrize("kind", LEAVES_ONE_OUT.values(), ids=LEAVES_ONE_OUT)


def make_data(seed=0, counts=(40, 25, 18, 12, 9)):
    """Return rows of overlapping classes of unequal size, in random order."""
    rng = np.random.default_rng(seed)
    means = 1.5 * np.random.default_rng(9).standard_normal((len(counts), 5)) + 2
    y = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    x = means[y] + rng.standard_normal((len(y), 5)) * np.linspace(0.5, 1.5, 5)
    return Data(x.astype(np.float32), y, tuple("abcde"[: len(counts)]))


def take_old(data, n_old):
    """Return the rows of the first `n_old` classes, which are all classes there are."""
    rows = data.y < n_old
    return Data(data.x[rows], data.y[rows], data.classes[:n_old])


def statistics_of(data):
    return compute_statistics(data.x, data.y, data.k)


def hold_hyperparameters(method, model):
    """Return `method` with the hyperparameters that `fit` estimated, such as the number k."""
    names = {f.name for f in fields(method)} & {f.name for f in fields(model)}
    return replace(method, **{name: getattr(model, name) for name in names})


def probabilities(logits):
    return softmax(logits, axis=1)


def extend_in_two_steps(method, data):
    """Return the model of the first three classes, extended by the others, one after the other."""
    model = method.fit(take_old(data, 3))
    for k in (4, 5):
        known = take_old(data, k)
        model = method.extend(model, known.take(known.y == k - 1), statistics_of(known))
    return model


def check_exact_extension(kind):
    """Added classes and rows give the model of a batch fit, to rounding."""
    data, method, x = make_data(), kind(), make_data(seed=1).x
    extended = extend_in_two_steps(method, data)
    batch = hold_hyperparameters(method, extended).fit(data)
    np.testing.assert_allclose(
        probabilities(extended.logits(x)), probabilities(batch.logits(x)), atol=2e-5
    )
    first = np.arange(len(data)) % 2 == 0
    more = method.extend(method.fit(data.take(first)), data.take(~first), statistics_of(data))
    batch = hold_hyperparameters(method, more).fit(data)
    np.testing.assert_allclose(
        probabilities(more.logits(x)), probabilities(batch.logits(x)), atol=2e-5
    )


def check_extension(kind):
    """An extended model has a column per class, finds the new classes, and can be saved."""
    data, test, method = make_data(), make_data(seed=1), kind()
    old = take_old(data, 3)
    before = method.fit(old)
    copy = method.fit(old)
    extended = method.extend(before, data.take(data.y >= 3), statistics_of(data))
    check_equal(before, copy)
    logits = extended.logits(test.x)
    assert logits.shape == (len(test), 5)
    refit = method.fit(data).logits(test.x).argmax(1)
    for rows in (test.y < 3, test.y >= 3):
        accuracy = np.mean(logits.argmax(1)[rows] == test.y[rows])
        assert accuracy > np.mean(refit[rows] == test.y[rows]) - 0.1
    check_savable(extended)


def check_classes_without_rows(kind):
    """A further class without added rows gets a column at `-inf`, and no row is predicted so."""
    data, method = make_data(), kind()
    old = take_old(data, 3)
    wide = Data(data.x[data.y == 4], data.y[data.y == 4], data.classes)
    rows = data.y != 3
    extended = method.extend(method.fit(old), wide, statistics_of(data.take(rows)))
    logits = extended.logits(data.x)
    assert np.isneginf(logits[:, 3]).all()
    assert np.isfinite(np.delete(logits, 3, axis=1)).all()


def check_leave_one_out(kind):
    """Logits are those of brute-force refits without the row, except for fitted hyperparameters.

    What is estimated from all rows (shrinkage, centre) moves by O(1 / n) when one is left out, so
    the tolerance is a small part of how far the logits of the fitted model itself are off.
    """
    data, method = make_data(), kind()
    model = method.fit(data)
    got = probabilities(method.leave_one_out_logits(model, data.x, data.y, statistics_of(data)))
    held = hold_hyperparameters(method, model)
    rows = np.arange(len(data))
    refits = np.stack(
        [probabilities(held.fit(data.take(rows != i)).logits(data.x[i : i + 1]))[0] for i in rows]
    )
    in_sample = probabilities(model.logits(data.x))
    own = (rows, data.y)
    assert np.abs(got - refits)[own].mean() < 0.2 * np.abs(in_sample - refits)[own].mean()
    assert np.abs(got - refits).max() < 0.05


def check_leave_group_out(kind):
    """With groups that hold rows of every class, logits are those of refits without the group."""
    data, method = make_data(), kind()
    group = np.concatenate([np.arange(n) % 3 for n in data.count_labels()])
    data = replace(data, group=group)
    model = method.fit(data)
    held, stats = hold_hyperparameters(method, model), statistics_of(data)
    got = probabilities(method.leave_one_out_logits(model, data.x, data.y, stats, group))
    refits = np.zeros_like(got)
    for g in range(3):
        refits[group == g] = probabilities(
            held.fit(data.take(group != g)).logits(data.x[group == g])
        )
    in_sample, own = probabilities(model.logits(data.x)), (np.arange(len(data)), data.y)
    # The centre, which is estimated from all rows, moves by more than for one row.
    assert np.abs(got - refits)[own].mean() < 0.6 * np.abs(in_sample - refits)[own].mean()


def check_leave_one_out_of_single_rows(kind):
    """Without the only row of a class, that class is not predicted for it."""
    data = make_data(counts=(12, 9, 1))
    method = kind()
    logits = method.leave_one_out_logits(method.fit(data), data.x, data.y, statistics_of(data))
    row = int(np.flatnonzero(data.y == 2)[0])
    assert logits[row].argmax() != 2
    assert not np.isnan(logits).any()


@extendable
@pytest.mark.parametrize("check", [check_extension, check_classes_without_rows])
def test_extend(kind, check):
    check(kind)


@pytest.mark.parametrize(
    "kind", [kind for kind in EXTENDABLE.values() if kind.exact_extension], ids=lambda k: k.__name__
)
def test_extend_equals_a_batch_fit(kind):
    check_exact_extension(kind)


@leaves_one_out
@pytest.mark.parametrize(
    "check", [check_leave_one_out, check_leave_group_out, check_leave_one_out_of_single_rows]
)
def test_leave_one_out(kind, check):
    check(kind)


def test_the_methods_with_the_verbs():
    """Whoever promises exactness has the verb; some methods have neither."""
    assert {"GDA", "KNearest", "NearestClassMean", "StreamingGDA"} <= set(EXTENDABLE)
    assert {"GDA", "KNearest", "NearestClassMean", "StreamingGDA"} <= set(LEAVES_ONE_OUT)
    assert "LogisticRegression" not in EXTENDABLE
    assert {name for name, kind in METHODS.items() if kind.exact_extension} <= set(EXTENDABLE)


def test_weighted_neighbours_count_as_copies():
    """Extended by rows of weight 2 and left out one copy at a time, as if rows were repeated."""
    data, method = make_data(), KNearest(k=3)
    weight = np.where(np.arange(len(data)) % 3 == 0, 2.0, 1.0)
    copies = data.take(np.repeat(np.arange(len(data)), weight.astype(int)))
    weighted, is_old, x = replace(data, weight=weight), data.y < 3, make_data(seed=1).x
    old = method.fit(Data(data.x[is_old], data.y[is_old], data.classes[:3], weight=weight[is_old]))
    extended = method.extend(old, weighted.take(~is_old), statistics_of(data))
    np.testing.assert_allclose(extended.logits(x), method.fit(copies).logits(x), atol=1e-9)
    left_out = method.leave_one_out_logits(extended, data.x, data.y, statistics_of(data))
    for i in range(0, len(data), 9):
        one_less = weight - (np.arange(len(data)) == i)
        refit = method.fit(replace(data, weight=one_less)).logits(data.x[i : i + 1])[0]
        np.testing.assert_allclose(left_out[i], refit, atol=1e-9)


# Planted faults


@dataclass(frozen=True)
class ForgetsScatter(GDA):
    """Extends with the means of all rows and the scatter of none."""

    def extend(self, model, added, statistics):
        blank = Statistics(statistics.counts, statistics.means, 0 * statistics.scatter)
        return super().extend(model, added, replace(blank, scatter=np.eye(5)))


@dataclass(frozen=True)
class ForgetsOldRows(GDA):
    """Fits the added rows alone."""

    def extend(self, model, added, statistics):
        return self.fit(added)


@dataclass(frozen=True)
class ChangesItsModel(KNearest):
    """Writes to the model that it extends."""

    def extend(self, model, added, statistics):
        model.rows[:] += 1
        return super().extend(model, added, statistics)


@dataclass(frozen=True)
class LeavesNothingOut(GDA):
    """Answers with the logits of the fitted model."""

    def leave_one_out_logits(self, model, x, y, statistics):
        return model.logits(x)


@dataclass(frozen=True)
class KeepsTheMean(GDA):
    """Corrects the class prior alone."""

    def leave_one_out_logits(self, model, x, y, statistics):
        logits = model.logits(x).copy()
        n = statistics.counts[y]
        logits[np.arange(len(y)), y] += np.log(np.maximum(n - 1, 1) / n)
        return logits


@pytest.mark.parametrize(
    ("kind", "check"),
    [
        (ForgetsScatter, check_exact_extension),
        (ForgetsOldRows, check_exact_extension),
        (ForgetsOldRows, check_extension),
        (ChangesItsModel, check_extension),
        (LeavesNothingOut, check_leave_one_out),
        (LeavesNothingOut, check_leave_one_out_of_single_rows),
        (KeepsTheMean, check_leave_one_out),
    ],
)
def test_planted_faults_fail(kind, check):
    with pytest.raises(AssertionError):
        check(kind)
