"""The benchmark of few labels runs small, and no choice is made on test classes."""

import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.few_labels import learn_unem
from benchmarks.few_labels import run as few_labels
from benchmarks.few_labels import tasks as task_sources
from benchmarks.few_labels.tasks import TaskSource, halve_classes, subsample
from ilk.core.data import Data
from ilk.core.errors import Unavailable
from ilk.methods.unem import DEFAULT_WEIGHTS_PATH, UNEM


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
    assert score[few_labels.UNEM_DEFAULT] == pytest.approx(score[few_labels.NEAREST_MEAN], abs=0.03)


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
    few_labels.learn_uneven(base, world, 0, small=True)
    assert seen
    assert set(seen) <= set(base.classes)


def test_the_default_weights_are_learned_on_mixed_tasks_of_other_data_sets(monkeypatch):
    sources = [numbered(), replace(numbered(), x=numbered().x[::-1].copy())]
    monkeypatch.setattr(learn_unem, "CLASSES", (4, 6))
    monkeypatch.setattr(learn_unem, "SHOTS", (2, 3))
    tasks = learn_unem.draw_mixed_tasks(sources, 32)
    kinds = {(t.train.k, int((t.train.y >= 0).sum()) // t.train.k) for t in tasks}
    assert kinds == {(4, 2), (6, 2), (4, 3), (6, 3)}
    assert {len(np.unique(t.test.y)) for t in tasks} == {2, 3, 4, 6}
    names = " ".join(learn_unem.SOURCES)
    assert not {s for s in ("digits,", "USPS", "Fashion", "CIFAR", "letter r") if s in names}


def test_the_file_of_the_package_is_what_the_script_writes():
    written = json.loads(json.dumps(learn_unem.describe_weights(UNEM())))
    assert written == json.loads(DEFAULT_WEIGHTS_PATH.read_text())


def test_principal_axes_are_those_of_the_classes_to_train_on():
    data = numbered()
    wide = replace(data, x=np.random.default_rng(0).standard_normal((63, 6)).astype(np.float32))
    source = TaskSource("wide", lambda seed: halve_classes(wide, seed), 3, 2)
    base, new = task_sources.reduce_source(source, 4).split_classes(1)
    assert base.x.shape[1] == new.x.shape[1] == 4
    np.testing.assert_allclose(base.x.mean(0), 0, atol=1e-5)
    covariance = np.cov(base.x.T)
    np.testing.assert_allclose(covariance, np.diag(np.diag(covariance)), atol=1e-4)
