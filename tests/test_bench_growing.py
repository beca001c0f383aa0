"""The benchmark of growing classes runs small, and its figures mean what they say."""

import json

import numpy as np
import pytest

from ilk.bench import growing
from ilk.bench._arriving_sets import digits
from ilk.bench._byte_budgets import _area, _curves
from ilk.bench._few_shot_growth import _shuffled
from ilk.errors import Unavailable
from ilk.methods.teen import Teen
from ilk.protocols import few_shot_increments
from ilk.training.continual import learn


@pytest.fixture(scope="module")
def told():
    return json.loads(json.dumps(growing.run(small=True)))


def scores(table):
    return {row["method"]: row["score"]["mean"] for row in table["scores"]}


def test_it_runs_small_and_gives_json(told):
    last = scores(told["tables"][0])
    assert told["tables"][0]["where"].endswith("26,000 bytes")
    assert last["fine-tuning"] < 0.6 < last["generative kernel"]
    assert all(0 < value <= 1 for value in last.values())
    assert "EWC" not in last  # it costs more bytes than there are
    assert told["streaming"]["digits"] < 1e-8
    rows = {claim["row"] for table in told["tables"] for claim in table["claims"]}
    assert {"weight-aligning", "class-incremental-survey", "teen-prototype-calibration"} <= rows


def test_what_answers_is_never_learnt_from():
    tasks = digits()
    learnt = {row.tobytes() for row in tasks.train.x}
    assert not any(row.tobytes() in learnt for row in tasks.test.x)
    steps = tasks.steps(0)
    assert sum(len(step.train) for step in steps) == 800
    assert len(steps[-1].test) == len(tasks.test)


def test_nobody_spends_more_than_there_is(monkeypatch):
    from ilk.bench import _byte_budgets

    spent = []

    def watched(method, steps):
        stages = learn(method, steps)
        spent.append((type(method).__name__, stages[-1].charged))
        return stages

    monkeypatch.setattr(_byte_budgets, "learn", watched)
    monkeypatch.setattr("ilk.bench._arriving_sets.STEPS", 1)
    tasks = digits()
    curves = _curves(tasks, tasks.steps(0), 0, [46_400])
    fixed = {"FineTuning", "LearningWithoutForgetting", "ElasticWeights", "StreamingGDA"}
    free = [cost for name, cost in spent if name not in {*fixed, "NearestClassMean"}]
    assert all(0.9 * 46_400 < cost <= 46_400 for cost in free)
    assert len(free) == 6
    assert not np.isnan([v for curve in curves.values() for v in curve]).any()


def test_the_area_of_a_level_line_is_its_height_and_what_is_missing_counts_as_chance():
    assert _area([0.7, 0.7, 0.7], [1, 10, 1000], 0.1) == pytest.approx(0.7)
    assert _area([0.0, 1.0], [1, 10], 0.1) == pytest.approx(0.5)
    assert _area([np.nan, 0.5], [1, 10], 0.1) == pytest.approx(0.3)


def test_the_control_without_a_shuffle_is_the_model(monkeypatch):
    tasks = digits()
    steps = list(few_shot_increments(tasks.train, tasks.test, 6, 4, 5))
    last = learn(Teen(alpha=0.4, tau=8.0), steps)[-1]

    class Still:
        def permuted(self, values, axis):
            return values

    monkeypatch.setattr(np.random, "default_rng", lambda seed: Still())
    assert _shuffled(last.model, steps[-1], 0) == pytest.approx((last.old, last.new))


def test_a_set_that_is_not_here_is_left_out_and_named():
    def absent():
        raise Unavailable("no such file; name the folder")

    told = {"left out": []}
    growing._with(told, absent, growing._fixed, 1)
    assert told["left out"] == ["absent: no such file; name the folder"]
