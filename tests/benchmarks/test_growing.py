"""The benchmark of class-incremental learning runs small, and its figures are correct."""

import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.growing import run as growing
from benchmarks.growing.byte_budgets import _area_under_curve, _measure_curves
from benchmarks.growing.few_shot import _evaluate_shuffled
from benchmarks.growing.task_sets import make_digit_tasks
from ilk.core.errors import Unavailable
from ilk.methods.teen import TEEN
from ilk.protocols import few_shot_increments
from ilk.training.continual import run_steps


@pytest.fixture(scope="module")
def results():
    return json.loads(json.dumps(growing.run(small=True)))


def scores(table):
    return {row["method"]: row["score"]["mean"] for row in table["scores"]}


def test_small_run_gives_json(results):
    last = scores(results["tables"][0])
    assert results["tables"][0]["setting"].endswith("26,000 bytes")
    assert last["fine-tuning"] < 0.6 < last["generative kernel"]
    assert all(0 < value <= 1 for value in last.values())
    assert "EWC" not in last  # it costs more bytes than there are
    assert results["streaming"]["digits"] < 1e-8
    rows = {claim["entry"] for table in results["tables"] for claim in table["claims"]}
    assert {"weight-aligning", "class-incremental-survey", "teen-prototype-calibration"} <= rows


def test_no_test_row_is_trained_on():
    tasks = make_digit_tasks()
    train_rows = {row.tobytes() for row in tasks.train.x}
    assert not any(row.tobytes() in train_rows for row in tasks.test.x)
    steps = tasks.draw_steps(0)
    assert sum(len(step.train) for step in steps) == 800
    assert len(steps[-1].test) == len(tasks.test)


def test_no_method_exceeds_its_byte_budget(monkeypatch):
    from benchmarks.growing import byte_budgets

    spent = []

    def watched(method, steps):
        stages = run_steps(method, steps)
        spent.append((type(method).__name__, stages[-1].memory_bytes))
        return stages

    monkeypatch.setattr(byte_budgets, "run_steps", watched)
    monkeypatch.setattr("benchmarks.growing.task_sets.STEPS", 1)
    tasks = make_digit_tasks()
    curves = _measure_curves(tasks, tasks.draw_steps(0), 0, [46_400])
    fixed = {"FineTuning", "LwF", "EWC", "StreamingGDA"}
    free = [cost for name, cost in spent if name not in {*fixed, "NearestClassMean"}]
    assert all(0.9 * 46_400 < cost <= 46_400 for cost in free)
    assert len(free) == 7
    assert not np.isnan([v for curve in curves.values() for v in curve]).any()


def test_the_area_of_a_constant_is_its_height_and_missing_values_count_as_chance():
    assert _area_under_curve([0.7, 0.7, 0.7], [1, 10, 1000], 0.1) == pytest.approx(0.7)
    assert _area_under_curve([0.0, 1.0], [1, 10], 0.1) == pytest.approx(0.5)
    assert _area_under_curve([np.nan, 0.5], [1, 10], 0.1) == pytest.approx(0.3)


def test_the_control_without_a_shuffle_is_the_model(monkeypatch):
    tasks = make_digit_tasks()
    steps = list(few_shot_increments(tasks.train, tasks.test, 6, 4, 5))
    last = run_steps(TEEN(alpha=0.4, tau=8.0), steps)[-1]

    class Still:
        def permuted(self, values, axis):
            return values

    monkeypatch.setattr(np.random, "default_rng", lambda seed: Still())
    assert _evaluate_shuffled(last.model, steps[-1], 0) == pytest.approx(
        (last.old_accuracy, last.new_accuracy)
    )


def test_a_missing_data_set_is_left_out_and_named():
    def absent():
        raise Unavailable("no such file; name the folder")

    results = {"left out": []}
    growing._run_if_available(results, absent, growing._add_fixed_budget)
    assert results["left out"] == ["absent: no such file; name the folder"]


def test_the_last_task_has_the_classes_that_are_left():
    tasks = make_digit_tasks()
    assert tasks.sizes == [2] * 5
    assert replace(tasks, classes_per_task=3).sizes == [3, 3, 4]
    assert replace(tasks, classes_per_task=3).setting == "digits, 3 tasks of 3 or 4 classes"
