"""The benchmark of few labels runs small, and no choice is made on test classes."""

import json

import numpy as np
import pytest

from benchmarks.few_labels import names_only
from benchmarks.few_labels import run as few_labels
from benchmarks.few_labels import tasks as task_sources
from benchmarks.few_labels.tasks import TaskSource, halve_classes, subsample
from ilk.core.data import Data
from ilk.core.errors import Unavailable


def test_small_run_settles_its_claims():
    results = json.loads(json.dumps(few_labels.run(small=True)))
    assert results["left out"] == []
    uneven, even, unseen = results["tables"]
    assert [one["seeds"] for one in results["tables"]] == [2, 2, 1]
    for one in results["tables"]:
        assert all(0.2 < row["score"]["mean"] <= 1 for row in one["scores"])
        for claim in one["claims"]:
            assert claim["file"].startswith("methods/")
    assert {c["entry"] for c in (*uneven["claims"], *even["claims"])} == {"unem"}
    assert {c["entry"] for c in unseen["claims"]} == {"susana-proto-triplet-icnn"}
    score = {row["method"]: row["score"]["mean"] for row in even["scores"]}
    assert score[few_labels.PADDLE_GUARDED] == pytest.approx(
        score[few_labels.NEAREST_MEAN], abs=0.03
    )


def test_a_missing_data_set_is_left_out(monkeypatch):
    def gone():
        raise Unavailable("no such folder")

    def jobs(small):
        return [(few_labels.compare_unlabelled, gone)]

    monkeypatch.setattr(few_labels, "_list_jobs", jobs)
    assert few_labels.run(small=True) == {"tables": [], "left out": ["gone: no such folder"]}


def numbered():
    y = np.repeat(np.arange(7), 9)
    return Data(np.arange(len(y), dtype=np.float32)[:, None], y, tuple("abcdefg"))


def test_halves_share_no_class_and_no_row():
    data = numbered()
    base, new = halve_classes(data, 3)
    assert (base.k, new.k) == (3, 4)
    assert not set(base.classes) & set(new.classes)
    assert sorted([*base.x[:, 0], *new.x[:, 0]]) == data.x[:, 0].tolist()
    for part in (base, new):
        for row, c in zip(part.x[:, 0], part.y, strict=True):
            assert part.classes[c] == data.classes[data.y[int(row)]]
    assert set(halve_classes(data, 4)[0].classes) != set(base.classes)


def test_subsample_keeps_n_rows_per_class():
    thin = subsample(numbered(), 4)
    assert thin.count_labels().tolist() == [4] * 7
    np.testing.assert_array_equal(numbered().y[thin.x[:, 0].astype(int)], thin.y)


def test_nothing_is_chosen_on_the_classes_that_are_tested(monkeypatch):
    seen = []

    def fit_unem(tasks, start, **_options):
        seen.extend(name for task in tasks for name in task.train.classes)
        return start

    monkeypatch.setattr(few_labels, "fit_unem", fit_unem)
    base, new = task_sources.load_digits().split_classes(0)
    world = TaskSource("digits", lambda seed: (base, new), 5, 2)
    chosen = few_labels.select_methods(base, world, 0, small=True)
    assert set(seen) <= set(base.classes)
    assert chosen[few_labels.EM_GRID].balance[0] in few_labels.BALANCES


def test_the_known_balance_does_best_where_few_classes_occur():
    """Rows near the places of their names, of which a third could be another's."""
    rng = np.random.default_rng(0)
    names = np.linalg.qr(rng.standard_normal((12, 10)))[0].T
    y = np.repeat(np.arange(10), 60)
    x = names[y] + 0.42 * rng.standard_normal((600, 12))
    data = Data(
        x.astype(np.float32), y, tuple("abcdefghij"), class_embeddings=names.astype(np.float32)
    )
    accuracies = names_only.measure_accuracies(data, 2, rng)
    assert set(accuracies) == {"names only", "ZeroShotEM", *(names_only.SOFT, names_only.HARD)} | {
        names_only.KNOWN_BALANCE
    }
    assert accuracies[names_only.KNOWN_BALANCE] > accuracies["names only"] + 0.05
    assert accuracies[names_only.KNOWN_BALANCE] > accuracies[names_only.SOFT] + 0.03
    assert all(0.3 < right <= 1 for right in accuracies.values())
