"""The contract of a discovery method, checked for every file of `ilk.discovery`; faults fail it.

Methods that need labels get rows of known classes, half of them labelled, and of classes without a
name. Methods that need none get the same rows without labels, in domains whose class priors differ.
"""

from dataclasses import dataclass, fields, replace

import numpy as np
import pytest

from helpers.contract_checks import (
    check_citation,
    check_equal,
    check_input_unchanged,
    check_is_value,
    check_parses_back,
    check_rows_independent,
    check_savable,
)
from ilk.core.contracts import DiscoveryTags
from ilk.core.data import Data
from ilk.core.errors import InputError, NoLabels
from ilk.discovery import list_discovery_methods
from ilk.discovery.semi_supervised_kmeans import SemiSupervisedKMeans
from ilk.maths.clustering_accuracy import clustering_accuracy

METHODS = list_discovery_methods()
FROM_LABELS = {name: kind for name, kind in METHODS.items() if kind.needs_labels}
every = pytest.mark.parametrize("kind", METHODS.values(), ids=METHODS)
from_labels = pytest.mark.parametrize("kind", FROM_LABELS.values(), ids=FROM_LABELS)
N_KNOWN, N_NEW = 2, 2


def make_method(kind, n_new=N_NEW):
    """Return the method for a given number of new classes, where it has such a field."""
    return kind(**({"n_new": n_new} if "n_new" in {f.name for f in fields(kind)} else {}))


def make_data(kind, seed=0, n=160, offset=0.0):
    """Return rows of four classes as the method expects them, and the class of each."""
    rng = np.random.default_rng(seed)
    k = N_KNOWN + N_NEW
    domain = np.repeat(np.arange(k), n // k)
    priors = np.full((k, k), 0.05) + 0.8 * np.eye(k)
    truth = np.concatenate([rng.choice(k, n // k, p=priors[d]) for d in range(k)])
    corners = 7 * np.linalg.qr(np.random.default_rng(9).standard_normal((6, 6)))[0][:k]
    x = (corners[truth] + rng.standard_normal((n, 6)) + offset).astype(np.float32)
    if not kind.needs_labels:
        return Data(x, np.full(n, -1), tuple("abcd"), domain=domain), truth
    y = np.where((truth < N_KNOWN) & (np.arange(n) % 2 == 0), truth, -1)
    return Data(x, y, ("a", "b")), truth


def check_value(kind):
    check_is_value(kind, DiscoveryTags)


def check_groups(kind):
    """Logits `[n, k + new]`; known classes keep their columns, new ones come after."""
    data, truth = make_data(kind)
    logits = make_method(kind).fit(data).logits(data.x)
    assert logits.shape == (len(data), N_KNOWN + N_NEW)
    assert np.isfinite(logits).all()
    predicted = logits.argmax(1)
    assert clustering_accuracy(truth, predicted, N_KNOWN).overall > 0.9
    if kind.needs_labels:
        is_known = truth < N_KNOWN
        assert np.mean(predicted[is_known] == truth[is_known]) > 0.9
        assert np.mean(predicted[~is_known] >= N_KNOWN) > 0.9


def check_independence(kind):
    data, _ = make_data(kind)
    check_rows_independent(make_method(kind).fit(data).logits, make_data(kind, seed=1)[0].x[:20])


def check_seed(kind):
    data, _ = make_data(kind)
    np.random.seed(1)
    first = make_method(kind).fit(data)
    np.random.seed(2)
    check_equal(first, make_method(kind).fit(data))


def check_input(kind):
    data, _ = make_data(kind)
    check_input_unchanged(lambda rows: make_method(kind).fit(rows).logits(rows.x), data)


def check_offset(kind):
    """Features far from 0 are grouped as well."""
    data, truth = make_data(kind, offset=1e3)
    predicted = make_method(kind).fit(data).logits(data.x).argmax(1)
    assert clustering_accuracy(truth, predicted, N_KNOWN).overall > 0.9


def check_saved(kind):
    check_savable(make_method(kind).fit(make_data(kind)[0]))


def check_without_labels(kind):
    """Without any label, a method that needs some is refused by name."""
    data, _ = make_data(kind)
    bare = replace(data, y=np.full(len(data), -1))
    with pytest.raises(NoLabels, match=f"{kind.__name__} learns from labels and there are none"):
        make_method(kind).fit(bare)


def check_without_unlabelled_rows(kind):
    """Without unlabelled rows it classifies the known classes."""
    data, truth = make_data(kind)
    rows = np.flatnonzero(data.y >= 0)
    logits = make_method(kind, 0).fit(data.take(rows)).logits(data.x)
    assert logits.shape == (len(data), N_KNOWN)
    is_known = truth < N_KNOWN
    assert np.mean(logits.argmax(1)[is_known] == truth[is_known]) > 0.95


def check_absent_class(kind):
    """A class without a labelled row keeps its column, before the new ones, at `-inf`."""
    data, truth = make_data(kind)
    data = Data(data.x, data.y, (*data.classes, "absent"))
    logits = make_method(kind).fit(data).logits(data.x)
    assert logits.shape == (len(data), N_KNOWN + 1 + N_NEW)
    assert np.isneginf(logits[:, N_KNOWN]).all()
    assert np.isfinite(np.delete(logits, N_KNOWN, axis=1)).all()
    assert clustering_accuracy(truth, logits.argmax(1), N_KNOWN).overall > 0.9


def check_images_refused(kind):
    data, _ = make_data(kind)
    with pytest.raises(InputError, match="encode the images first"):
        make_method(kind).fit(replace(data, x=data.x[:, None]))


def check_weights_refused(kind):
    """Weights that would be ignored are refused, those of unlabelled rows too."""
    data, _ = make_data(kind)
    if kind.supports_weights:
        return
    with pytest.raises(InputError, match="does not support row weights"):
        make_method(kind).fit(
            replace(data, weight=np.where(data.y >= 0, 1.0, np.arange(len(data))))
        )


def check_weight_zero(kind):
    """A labelled row of weight 0 is absent."""
    data, truth = make_data(kind)
    is_absent = (truth == 0) & (np.arange(len(data)) % 4 == 0)
    weight = np.where(is_absent, 0.0, 1.0)
    data = replace(data, y=np.where(is_absent, truth, data.y), weight=weight)
    logits = make_method(kind).fit(data).logits(data.x)
    rest = make_method(kind).fit(data.take(weight > 0)).logits(data.x)
    np.testing.assert_array_equal(logits, rest)


def check_negative_number(kind):
    with pytest.raises(ValueError, match="n_new"):
        make_method(kind, -1)


CHECKS = (
    check_citation,
    check_value,
    check_parses_back,
    check_groups,
    check_independence,
    check_seed,
    check_input,
    check_offset,
    check_saved,
    check_weights_refused,
    check_weight_zero,
    check_images_refused,
)
LABEL_CHECKS = (
    check_without_labels,
    check_without_unlabelled_rows,
    check_absent_class,
    check_negative_number,
)


@every
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(kind, check):
    check(kind)


@from_labels
@pytest.mark.parametrize("check", LABEL_CHECKS, ids=lambda check: check.__name__)
def test_contract_of_methods_that_need_labels(kind, check):
    check(kind)


def test_the_folder_holds_both_kinds_and_no_classifier():
    assert "SemiSupervisedKMeans" in FROM_LABELS
    assert "LatentLabelShift" in set(METHODS) - set(FROM_LABELS)
    assert not any(hasattr(kind, "default_candidate") for kind in METHODS.values())


@dataclass(frozen=True, eq=False)
class FaultyModel:
    """A fitted discovery model with one fault."""

    inner: object
    fault: str

    def logits(self, x):
        z = self.inner.logits(x)
        if self.fault == "columns":
            return z[:, ::-1]
        if self.fault == "width":
            return z[:, :-1]
        if self.fault == "batch":
            return z - z.mean(0) if len(z) else z
        return np.where(np.isfinite(z), z, -1e9) if self.fault == "finite" else z


def plant(fault):
    """Return a discovery class with a fault."""

    @dataclass(frozen=True)
    class Faulty(SemiSupervisedKMeans):
        def __post_init__(self):
            pass

        def fit(self, data):
            if fault == "global seed":
                noise = np.random.standard_normal(data.x.shape).astype(np.float32)
                return self._fit(replace(data, x=data.x + 0.1 * noise))
            if fault == "labels invented":
                y = np.where((data.y < 0).all() & (np.arange(len(data)) < 80), 0, data.y)
                return self._fit(replace(data, y=y))
            if fault == "unlabelled ignored":
                return SemiSupervisedKMeans(n_new=0).fit(data.take_labelled())
            if fault == "weights ignored":
                return self._fit(replace(data, weight=np.ones(len(data))))
            if fault == "reshapes":
                return self._fit(replace(data, x=data.x.reshape(len(data), -1)))
            return FaultyModel(self._fit(data), fault)

        def _fit(self, data):
            return SemiSupervisedKMeans.fit(self, data)

    return Faulty


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        ("columns", check_groups),
        ("width", check_groups),
        ("unlabelled ignored", check_groups),
        ("batch", check_independence),
        ("global seed", check_seed),
        ("labels invented", check_without_labels),
        ("finite", check_absent_class),
        ("width", check_without_unlabelled_rows),
        ("weights ignored", check_weights_refused),
        ("reshapes", check_images_refused),
        ("unsavable", check_saved),
        ("no validation", check_negative_number),
    ],
)
def test_planted_faults_fail(fault, check):
    with pytest.raises((AssertionError, TypeError, pytest.fail.Exception)):
        check(plant(fault))
