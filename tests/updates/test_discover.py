"""Groups that fit no known class: which are backed, how they are numbered, what is told of them."""

from types import SimpleNamespace

import numpy as np
import pytest

from ilk.core.data import Data
from ilk.core.errors import InputError
from ilk.core.portable_names import make_unique
from ilk.images import Images, Row
from ilk.trust.out_of_distribution import fit_gaussian
from ilk.trust.summary_statistics import SummaryStatistics
from ilk.updates.discover import (
    Discovery,
    GroupedImage,
    _collect_notes,
    _compute_distances,
    _sort_by_size,
    assign_groups,
    keep_supported_groups,
)
from ilk.updates.unknown_images import UnknownImages


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
    kept = SummaryStatistics.from_data(
        Data(x, y, names), np.zeros((len(y), known)), tested, np.zeros(len(y))
    )
    truth = np.repeat(np.arange(known + new), 12)
    seen = (corners[truth] + rng.standard_normal((len(truth), 5))).astype(np.float32)
    return SimpleNamespace(summary_statistics=kept, classes=names), seen, truth


@pytest.mark.parametrize("single", [False, True])
def test_what_is_new_is_grouped_and_what_is_known_is_not(single):
    model, x, truth = classifier(single=single)
    answer = assign_groups(model, x, None)
    assert (answer[truth < 3] == 0).all()
    assert len({tuple(sorted(set(answer[truth == c]))) for c in (3, 4)}) == 2
    assert set(answer[truth >= 3]) == {1, 2}
    assert assign_groups(model, x, 4).max() == 4


def test_a_model_that_keeps_nothing_is_refused():
    model, x, _ = classifier()
    model.summary_statistics = None
    with pytest.raises(InputError, match="stores no features"):
        assign_groups(model, x, None)


def flags(is_unknown, score, held_out=()):
    return UnknownImages(
        np.array(is_unknown, bool), np.array(score, float), None, np.array(held_out, float)
    )


def test_a_group_is_supported_by_flags_of_most_images():
    mixed = keep_supported_groups(np.array([0, 1, 1, 2, 2]), flags([1, 0, 1, 1, 1], np.zeros(5)))
    np.testing.assert_array_equal(mixed, [0, 0, 0, 2, 2])


@pytest.mark.parametrize(("n", "rank"), [(1, 99), (2, 97), (3, 90), (10, 60), (10, 75), (40, 55)])
def test_a_group_is_supported_by_scores_above_those_of_known_images(n, rank):
    """Against the number of orders in which a random group would score as high or higher."""
    rng = np.random.default_rng(0)
    held_out = np.arange(100.0)
    score = rank + rng.uniform(-0.4, 0.4, n)
    pooled = np.append(score, held_out)
    observed = sum((s > held_out).sum() for s in score)
    null = []
    for _ in range(20_000):
        drawn = rng.permutation(pooled)
        null.append((np.searchsorted(np.sort(drawn[n:]), drawn[:n])).sum())
    p = np.mean(np.array(null) >= observed)
    kept = keep_supported_groups(np.ones(n, np.int64), flags(np.zeros(n), score, held_out)).any()
    if abs(p - 0.001) > 0.0008:
        assert bool(kept) == (p < 0.001), p


def test_nothing_is_supported_by_scores_where_nothing_is_known_of_them():
    assert not keep_supported_groups(np.ones(5, np.int64), flags(np.zeros(5), np.ones(5))).any()


def test_groups_are_numbered_by_size():
    np.testing.assert_array_equal(
        _sort_by_size(np.array([0, 5, 2, 2, 5, 5, 0])), [0, 1, 2, 2, 1, 1, 0]
    )
    np.testing.assert_array_equal(_sort_by_size(np.zeros(3, np.int64)), [0, 0, 0])


def test_names_stay_unique_in_any_case():
    assert make_unique(["a.png", "A.png", "a-2.png", "b", "b"]) == [
        "a.png",
        "A-2.png",
        "a-2-2.png",
        "b",
        "b-2",
    ]
    assert make_unique(["x/a.png", "y/a.png", "x/A.png"]) == ["x/a.png", "y/a.png", "x/A-2.png"]
    assert len(set(make_unique(["a.png"] * 20_000))) == 20_000  # in no time


def test_a_distance_is_in_deviations_within_a_class_and_typical_images_come_first():
    """Features of a tenth and of ten count alike."""
    rng = np.random.default_rng(0)
    scale = np.array([0.1, 1.0, 10.0])
    x = ((rng.standard_normal((4000, 3)) + 5 * (np.arange(4000) % 2)[:, None]) * scale).astype("f4")
    sense = fit_gaussian(Data(x, np.arange(4000) % 2, ("a", "b")), shrink=0.0)
    new = ((rng.standard_normal((500, 3)) - 9) * scale).astype(np.float32)
    answer = np.repeat([0, 1], [100, 400])
    far = _compute_distances(SimpleNamespace(ood_detector=sense), new, answer)
    assert np.isnan(far[:100]).all()
    off = (new[100:] / scale - (new[100:] / scale).mean(0)) ** 2
    np.testing.assert_allclose(far[100:], np.sqrt(off.mean(1)), rtol=0.05)


def test_a_group_is_told_from_its_most_typical_image_on():
    rows = [Row(path=f"{i}.png", status="used") for i in range(4)]
    found = tuple(
        GroupedImage(r, g, d)
        for r, g, d in zip(rows, (1, 2, 1, 1), (3.0, 0.0, 1.0, 2.0), strict=True)
    )
    told = Discovery(Images(None, tuple(rows)), found, 2, ())
    assert [f.distance for f in told.list_group(1)] == [1.0, 2.0, 3.0]


def test_notes_count_the_unknown_outside_of_groups():
    model = SimpleNamespace(ood_detector=SimpleNamespace(note=""))
    answer, unknown = np.array([0, 0, 0, 1, 1]), np.array([1, 1, 0, 1, 1], bool)
    (note,) = _collect_notes(model, answer, unknown, given=False)
    assert note.startswith("2 images are flagged as unknown but in no group")
    assert _collect_notes(model, np.maximum(answer, 1), unknown, given=False) == ()


def test_a_model_whose_features_are_too_wide_to_keep_is_refused():
    from dataclasses import replace

    from ilk.core.errors import InputError
    from ilk.updates.discover import assign_groups

    model, x, _ = classifier()
    kept = model.summary_statistics
    model.summary_statistics = replace(kept, means=kept.means[:, :0], x=kept.x[:, :0])
    with pytest.raises(InputError, match="stores no features"):
        assign_groups(model, x, None)
