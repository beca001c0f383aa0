"""The benchmark of growing runs small, and what it says of cost and sameness can be held to."""

import json

import numpy as np
import pytest

from ilk.bench import add


@pytest.fixture(scope="module")
def told():
    return json.loads(json.dumps(add.run(small=True)))


def test_small_gives_tables_promises_and_cost(told):
    assert [t["metric"] for t in told["tables"]] == list(add.METRICS)
    scores = {s["method"]: s["score"]["mean"] for s in told["tables"][0]["scores"]}
    assert abs(scores["GDA() grown"] - scores["GDA() fitted again"]) < 0.005
    assert scores["LogisticRegression(C=1.0) grown"] > 0.93
    promise = told["promises of sets and of the unknown"]["digits"]["GDA() grown"]
    assert abs(promise["coverage"]["mean"] - 0.9) < 0.06
    command = told["cost of the whole command (simulated)"]
    assert "20 images of new added" in command["it said"]


def test_growing_is_the_batch_rule_and_leaves_other_heads_alone(told):
    (cost,) = told["cost of the update (simulated)"]
    assert cost["greatest difference of logits from batch GDA"] < 1e-3
    assert cost["greatest change between two old logits"] > 0.01
    assert cost["old logits of the other head are the same to the bit"] is True
    assert cost["seconds, GDA"] < 2


def test_what_is_tested_is_never_learnt_from():
    from ilk.data import Data

    y = np.arange(60) % 3
    data = Data(np.arange(60, dtype=np.float32)[:, None], y, ("a", "b", "c"))
    split = add.late(data.rows(np.arange(40)), data.rows(np.arange(40, 60)), [1])
    assert split.test.classes == ("a", "c", "b")
    assert not set(split.all.x[:, 0]) & set(split.test.x[:, 0])
    for part in (split.all, split.test):
        names = [part.classes[c] for c in part.y]
        assert names == ["abc"[int(i) % 3] for i in part.x[:, 0]]
