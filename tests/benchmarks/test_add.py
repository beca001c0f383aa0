"""The benchmark of extending runs small; extending equals refitting and changes nothing else."""

import json

import numpy as np
import pytest

from benchmarks.add import run as add


@pytest.fixture(scope="module")
def results():
    return json.loads(json.dumps(add.run(small=True)))


def test_small_gives_tables_coverage_and_cost(results):
    assert [t["metric"] for t in results["tables"]] == list(add.METRICS)
    scores = {s["method"]: s["score"]["mean"] for s in results["tables"][0]["scores"]}
    assert abs(scores["GDA() extended"] - scores["GDA() refitted"]) < 0.005
    assert scores["LogisticRegression(C=1.0) extended"] > 0.93
    promise = results["coverage and unknown rates"]["digits"]["GDA() extended"]
    assert abs(promise["coverage"]["mean"] - 0.9) < 0.06
    command = results["cost of the whole command (simulated)"]
    assert "20 images of new added" in command["output"]


def test_extending_equals_batch_gda_and_keeps_other_heads(results):
    (cost,) = results["cost of the update (simulated)"]
    assert cost["largest logit difference from batch GDA"] < 1e-3
    assert cost["largest change between two old logits"] > 0.01
    assert cost["old logits of the unchanged head are bitwise identical"] is True
    assert cost["seconds, GDA"] < 2


def test_no_test_row_is_trained_on():
    from ilk.core.data import Data

    y = np.arange(60) % 3
    data = Data(np.arange(60, dtype=np.float32)[:, None], y, ("a", "b", "c"))
    split = add.split_new_classes(data.take(np.arange(40)), data.take(np.arange(40, 60)), [1])
    assert split.test.classes == ("a", "c", "b")
    assert not set(split.combined.x[:, 0]) & set(split.test.x[:, 0])
    for part in (split.combined, split.test):
        names = [part.classes[c] for c in part.y]
        assert names == ["abc"[int(i) % 3] for i in part.x[:, 0]]
