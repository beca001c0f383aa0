"""Groups that fit no known class: which are backed, how they are numbered, what is told of them."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import binom

from ilk.data import Data
from ilk.errors import InputError
from ilk.living.discover import _by_size, assigned, backed
from ilk.living.suggestions import unique
from ilk.trust.kept import Kept


def classifier(known=3, new=2, rows=30, seed=0, single=False):
    """What is kept of some classes, rows of them and of others, and what these rows are."""
    rng = np.random.default_rng(seed)
    corners = 8 * rng.standard_normal((known + new, 5))
    y = np.repeat(np.arange(known), rows)
    if single:
        y = np.append(y[y > 0], 0)
    x = (corners[y] + rng.standard_normal((len(y), 5))).astype(np.float32)
    names = tuple(f"kind {c}" for c in range(known))
    tested = np.bincount(y)[y] > 1
    kept = Kept.of(Data(x, y, names), np.zeros((len(y), known)), tested, np.zeros(len(y)))
    truth = np.repeat(np.arange(known + new), 12)
    seen = (corners[truth] + rng.standard_normal((len(truth), 5))).astype(np.float32)
    return SimpleNamespace(kept=kept, classes=names), seen, truth


@pytest.mark.parametrize("single", [False, True])
def test_what_is_new_is_grouped_and_what_is_known_is_not(single):
    model, x, truth = classifier(single=single)
    answer = assigned(model, x, None)
    assert (answer[truth < 3] == 0).all()
    assert len({tuple(sorted(set(answer[truth == c]))) for c in (3, 4)}) == 2
    assert set(answer[truth >= 3]) == {1, 2}
    assert assigned(model, x, 4).max() == 4


def test_a_model_that_keeps_nothing_is_refused():
    model, x, _ = classifier()
    model.kept = None
    with pytest.raises(InputError, match="kept no features"):
        assigned(model, x, None)


def test_a_group_needs_more_unknown_images_than_false_alarms_explain():
    for n, flagged in ((1, 1), (1, 0), (2, 1), (8, 2), (8, 3), (40, 5), (40, 7), (400, 40)):
        answer, unknown = np.ones(n, np.int64), np.arange(n) < flagged
        chance = sum(binom.pmf(i, n, 0.05) for i in range(flagged, n + 1))
        kept = 2 * flagged > n or chance < 0.01
        assert bool(backed(answer, unknown, 0.05).any()) == kept, (n, flagged)
    mixed = backed(np.array([0, 1, 1, 2, 2]), np.array([1, 0, 0, 1, 1], bool), 0.05)
    np.testing.assert_array_equal(mixed, [0, 0, 0, 2, 2])


def test_groups_are_numbered_by_size():
    np.testing.assert_array_equal(_by_size(np.array([0, 5, 2, 2, 5, 5, 0])), [0, 1, 2, 2, 1, 1, 0])
    np.testing.assert_array_equal(_by_size(np.zeros(3, np.int64)), [0, 0, 0])


def test_names_stay_unique_in_any_case():
    assert unique(["a.png", "A.png", "a-2.png", "b", "b"]) == [
        "a.png",
        "A-2.png",
        "a-2-2.png",
        "b",
        "b-2",
    ]
