"""The retrieval sets keep classes apart, and the benchmarks of embeddings run."""

import json

import numpy as np
import pytest

from benchmarks import retrieval_sets
from benchmarks.metric_losses import run as metric_losses
from benchmarks.metric_losses.networks import measure_utilization
from benchmarks.runner import shared_path
from ilk.core.data import Data
from ilk.core.errors import Unavailable


def make_data(k=10, per_class=12, d=6, seed=0):
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(k), per_class)
    x = rng.normal(size=(k, d))[y] + 0.5 * rng.normal(size=(len(y), d))
    return Data(x.astype(np.float32), y, tuple(map(str, range(k))))


@pytest.fixture
def task(monkeypatch):
    monkeypatch.setattr(retrieval_sets, "read_notmnist", make_data)
    return retrieval_sets.read_task("notmnist", 0)


def test_no_class_is_in_two_parts(task):
    parts = [set(np.unique(p.y)) for p in (task.train, task.validation, task.test)]
    assert [len(p) for p in parts] == [3, 2, 5]
    assert len(set.union(*parts)) == 10


def test_another_seed_divides_classes_otherwise(monkeypatch):
    monkeypatch.setattr(retrieval_sets, "read_notmnist", make_data)
    divisions = [retrieval_sets.read_task("notmnist", s).test.y for s in range(3)]
    assert len({tuple(np.unique(y)) for y in divisions}) == 3


def test_settings_are_chosen_on_validation_classes_alone(task, monkeypatch):
    """With test rows that would say the opposite, the choice is the same."""
    seen = []
    monkeypatch.setattr(
        retrieval_sets, "embed_rows", lambda network, x: seen.append(x) or np.array(x)
    )
    arm = next(iter(metric_losses.a.list_first_arms().values()))
    retrieval_sets.tune_arm(metric_losses._shorten(arm, True), task, 0)
    assert all(x is task.validation.x for x in seen)
    assert len(seen) == 2


def test_distance_falls_with_more_rows(task):
    class Identity:
        def __call__(self, x):
            return x / x.norm(dim=1, keepdim=True)

    result = measure_utilization(Identity(), task, 0)
    assert result["with mixed rows"] <= result["distance to training rows"]
    assert result["with jittered rows"] <= result["distance to training rows"]


def test_one_set_gives_every_arm_and_claim(task, monkeypatch):
    monkeypatch.setattr(metric_losses, "read_task", lambda *_args, **_options: task)
    monkeypatch.setattr(metric_losses, "NETWORK_SETS", ())
    result = json.loads(json.dumps(metric_losses.run(small=True), allow_nan=False))
    table = result["tables"][0]
    arms = {row["method"] for row in table["scores"]}
    assert {"features as they are", "LDA", "Whitening", "ProxyAnchor", "ArcFace"} < arms
    assert len(table["claims"]) == len(metric_losses.CLAIMS)


def test_the_benchmark_runs_on_a_network(monkeypatch, tmp_path):
    try:
        shared_path("data", "mnist")
    except Unavailable:
        pytest.skip("needs ../shared/data/mnist")
    monkeypatch.setenv("ILK_TRIALS", str(tmp_path))
    task = metric_losses.read_network_task("mnist", 0, small=True)
    scores = metric_losses.run_networks(task, 0, small=True)
    assert set(scores["MultiSimilarity"]) > {"recall at 1", "mAP@R", "with mixed rows"}
