"""Groups that fit no known class: which are backed, how they are numbered, what is told of them."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import binom

from ilk.data import Data
from ilk.errors import InputError
from ilk.images import Images, Row
from ilk.living.discover import Discovery, Found, _by_size, _distances, _notes, assigned, backed
from ilk.living.suggestions import unique
from ilk.trust.kept import Kept
from ilk.trust.unknown import gaussian


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


def test_a_distance_is_in_deviations_within_a_class_and_typical_images_come_first():
    """Features of a tenth and of ten count alike."""
    rng = np.random.default_rng(0)
    scale = np.array([0.1, 1.0, 10.0])
    x = ((rng.standard_normal((4000, 3)) + 5 * (np.arange(4000) % 2)[:, None]) * scale).astype("f4")
    sense = gaussian(Data(x, np.arange(4000) % 2, ("a", "b")), shrink=0.0)
    new = ((rng.standard_normal((500, 3)) - 9) * scale).astype(np.float32)
    answer = np.repeat([0, 1], [100, 400])
    far = _distances(SimpleNamespace(unknown=sense), new, answer)
    assert np.isnan(far[:100]).all()
    off = (new[100:] / scale - (new[100:] / scale).mean(0)) ** 2
    np.testing.assert_allclose(far[100:], np.sqrt(off.mean(1)), rtol=0.05)


def test_a_group_is_told_from_its_most_typical_image_on():
    rows = [Row(path=f"{i}.png", status="used") for i in range(4)]
    found = tuple(
        Found(r, g, d) for r, g, d in zip(rows, (1, 2, 1, 1), (3.0, 0.0, 1.0, 2.0), strict=True)
    )
    told = Discovery(Images(None, tuple(rows)), found, 2, ())
    assert [f.distance for f in told.group(1)] == [1.0, 2.0, 3.0]


def test_notes_count_the_unknown_outside_of_groups():
    model = SimpleNamespace(unknown=SimpleNamespace(note=""))
    answer, unknown = np.array([0, 0, 0, 1, 1]), np.array([1, 1, 0, 1, 1], bool)
    (note,) = _notes(model, answer, unknown, given=False)
    assert note.startswith("2 images are called unknown and fit no group")
    assert _notes(model, np.maximum(answer, 1), unknown, given=False) == ()


def test_a_model_whose_features_are_too_wide_to_keep_is_refused():
    from dataclasses import replace

    from ilk.errors import InputError
    from ilk.living.discover import assigned

    model, x, _ = classifier()
    kept = model.kept
    model.kept = replace(kept, means=kept.means[:, :0], x=kept.x[:, :0])
    with pytest.raises(InputError, match="kept no features"):
        assigned(model, x, None)
