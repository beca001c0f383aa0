"""The benchmark of few labels runs small, and what it chooses on is not what it tests."""

import json

import numpy as np
import pytest

from ilk.bench import _few_names, _few_sets, few_labels
from ilk.bench._few_sets import World, halves, thinned
from ilk.data import Data
from ilk.errors import Unavailable


def test_runs_small_and_settles_its_claims():
    told = json.loads(json.dumps(few_labels.run(small=True)))
    assert told["left out"] == []
    uneven, even, unseen = told["tables"]
    assert [one["seeds"] for one in told["tables"]] == [2, 2, 1]
    for one in told["tables"]:
        assert all(0.2 < row["score"]["mean"] <= 1 for row in one["scores"])
        for claim in one["claims"]:
            assert claim["file"].startswith("methods/")
    assert {c["row"] for c in (*uneven["claims"], *even["claims"])} == {"unem"}
    assert {c["row"] for c in unseen["claims"]} == {"susana-proto-triplet-icnn"}
    score = {row["method"]: row["score"]["mean"] for row in even["scores"]}
    assert score[few_labels.FIXED_GUARDED] == pytest.approx(score[few_labels.MEAN], abs=0.03)


def test_a_set_that_is_not_there_is_left_out(monkeypatch):
    def gone():
        raise Unavailable("no such folder")

    def jobs(small):
        return [(few_labels.unlabelled, gone)]

    monkeypatch.setattr(few_labels, "_jobs", jobs)
    assert few_labels.run(small=True) == {"tables": [], "left out": ["gone: no such folder"]}


def numbered():
    y = np.repeat(np.arange(7), 9)
    return Data(np.arange(len(y), dtype=np.float32)[:, None], y, tuple("abcdefg"))


def test_halves_share_no_class_and_no_row():
    data = numbered()
    base, new = halves(data, 3)
    assert (base.k, new.k) == (3, 4)
    assert not set(base.classes) & set(new.classes)
    assert sorted([*base.x[:, 0], *new.x[:, 0]]) == data.x[:, 0].tolist()
    for part in (base, new):
        for row, c in zip(part.x[:, 0], part.y, strict=True):
            assert part.classes[c] == data.classes[data.y[int(row)]]
    assert set(halves(data, 4)[0].classes) != set(base.classes)


def test_thinning_keeps_so_many_a_class():
    thin = thinned(numbered(), 4)
    assert thin.counts().tolist() == [4] * 7
    np.testing.assert_array_equal(numbered().y[thin.x[:, 0].astype(int)], thin.y)


def test_nothing_is_chosen_on_the_classes_that_are_tested(monkeypatch):
    seen = []

    def learned(tasks, start, **_asked):
        seen.extend(name for task in tasks for name in task.train.classes)
        return start

    monkeypatch.setattr(few_labels, "learned", learned)
    base, new = _few_sets.digits().parts(0)
    world = World("digits", lambda seed: (base, new), 5, 2)
    chosen = few_labels.choose(base, world, 0, small=True)
    assert set(seen) <= set(base.classes)
    assert chosen[few_labels.GRID].balance[0] in few_labels.BALANCES


def test_what_is_told_how_many_classes_turn_up_does_best_where_few_do():
    """Rows near the places of their names, of which a third could be another's."""
    rng = np.random.default_rng(0)
    names = np.linalg.qr(rng.standard_normal((12, 10)))[0].T
    y = np.repeat(np.arange(10), 60)
    x = names[y] + 0.42 * rng.standard_normal((600, 12))
    data = Data(x.astype(np.float32), y, tuple("abcdefghij"), hints=names.astype(np.float32))
    found = _few_names.answered(data, 2, rng)
    assert set(found) == {"names alone", "ZeroShotEM", *(_few_names.SOFT, _few_names.HARD)} | {
        _few_names.TOLD
    }
    assert found[_few_names.TOLD] > found["names alone"] + 0.05
    assert found[_few_names.TOLD] > found[_few_names.SOFT] + 0.03
    assert all(0.3 < right <= 1 for right in found.values())
