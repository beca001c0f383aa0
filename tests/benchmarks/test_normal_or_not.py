"""The benchmark of normal-or-not runs small, and its figures are correct."""

import json

import numpy as np
import pytest
from PIL import Image

from benchmarks.normal_or_not import compare_images, one_class_sets
from benchmarks.normal_or_not import run as normal_or_not
from benchmarks.normal_or_not.defects import DEFECTS
from benchmarks.normal_or_not.one_class_sets import AnomalyDataset, draw_step
from benchmarks.normal_or_not.run import _compare_axes
from benchmarks.normal_or_not.scorers import roc_auc, score_pseudo_inverse
from ilk.core.data import Data
from ilk.core.errors import Unavailable


def test_small_run_settles_its_claims():
    results = json.loads(json.dumps(normal_or_not.run(small=True)))
    assert results["left out"] == []
    curves, ends, alarms, images = results["tables"]
    score = {row["method"]: row["score"]["mean"] for row in curves["scores"]}
    assert score["GaussianAnomaly()"] > score["distance to the mean"]
    assert all(0.5 < value <= 1 for value in score.values())
    claims = [c for t in results["tables"] for c in t["claims"]]
    assert {c["entry"] for c in claims} == {"gaussian-ad-mvtec", "detector-choice"}
    assert {row["method"] for row in ends["scores"]} == {
        "lowest axes",
        "highest axes",
        "random axes",
    }
    assert alarms["better"] == "lower"
    assert results["false alarms"]["digits"]["5%"]["calibrated"]["mean"] < 0.15
    area = {row["method"]: row["score"]["mean"] for row in images["scores"]}
    [details] = results["images"].values()
    assert area["chosen (default)"] == area[details["chosen"][0]]
    assert set(area) >= {"GaussianAnomaly", "NearestNeighbour", "distance to the mean"}


def test_defects_lie_where_their_masks_say():
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(60, 200, (64, 96, 3), np.uint8))
    for name, paint in DEFECTS.items():
        for seed in range(5):
            changed, mask = paint(image, np.random.default_rng(seed))
            difference = np.abs(np.asarray(changed).astype(int) - np.asarray(image)).max(2)
            assert mask.shape == (64, 96)
            assert 0 < mask.mean() < 0.3, name
            assert difference[mask].min() >= 8
            assert np.median(difference[~mask]) == 0


def test_the_area_is_how_often_an_anomaly_scores_higher():
    rng = np.random.default_rng(0)
    y, score = rng.integers(0, 2, 40), rng.standard_normal(40)
    pairs = [b > a for a in score[y == 0] for b in score[y == 1]]
    assert roc_auc(y, score) == pytest.approx(np.mean(pairs))


def test_test_rows_are_not_trained_on_and_pixels_follow_their_rows():
    x = np.arange(60.0)[:, None]
    data = Data(x, np.arange(60) % 3, ("a", "b", "c"))
    step, learn, test = draw_step(AnomalyDataset(data, ("b", "a"), pixels=x + 100), 1)
    assert (step.train.x[:, 0] % 3 == 0).all()  # the second turn's class, a
    assert not set(step.train.x[:, 0]) & set(step.test.x[:, 0])
    np.testing.assert_array_equal(learn, step.train.x + 100)
    np.testing.assert_array_equal(test, step.test.x + 100)
    np.testing.assert_array_equal(step.test.y, step.test.x[:, 0] % 3 != 0)


def test_the_lowest_axes_are_where_normal_rows_differ_least():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 8)) * np.geomspace(1, 0.01, 8)
    odd = x[:100] + np.array([0] * 6 + [0.2, 0.2])
    train = Data(x[100:200], np.zeros(100, int), ("normal", "odd"))
    test = Data(np.concatenate([x[200:], odd]), np.repeat([0, 1], 100), ("normal", "odd"))
    from ilk.protocols import Step

    results = _compare_axes(Step(train, test, np.arange(200)), 0)
    assert results["lowest axes"] > 0.95
    assert results["highest axes"] < 0.7


def test_the_pseudo_inverse_is_numpys():
    rng = np.random.default_rng(0)
    x, new = rng.standard_normal((6, 9)), rng.standard_normal((4, 9))
    z = new - x.mean(0)
    truth = np.einsum("ij,jk,ik->i", z, np.linalg.pinv(np.cov(x.T, bias=True)), z)
    np.testing.assert_allclose(score_pseudo_inverse(x, new) ** 2, truth, rtol=1e-6)


def test_the_network_is_trained_on_every_class_that_is_not_evaluated(monkeypatch):
    rng = np.random.default_rng(0)
    parts = {
        part: Data(
            rng.random((n, 784)).astype(np.float32), np.arange(n) * 10 // n, tuple("0123456789")
        )
        for part, n in (("train", 6000), ("test", 200))
    }
    seen = []

    def train_network(data, steps):
        seen.append(data)

    monkeypatch.setattr(one_class_sets, "train_network", train_network)
    monkeypatch.setattr(one_class_sets, "extract_features", lambda _net, x: x[:, :3])
    monkeypatch.setattr(one_class_sets, "N_SOURCE", 400)
    world = one_class_sets._load_unseen_classes(parts.__getitem__)
    assert (seen[0].count_labels()[5:] > 50).all()
    assert seen[0].count_labels()[:5].sum() == 0
    assert world.data.y.max() == 4
    np.testing.assert_array_equal(world.data.x, world.pixels[:, :3])


def test_a_missing_data_set_is_left_out(monkeypatch):
    def gone():
        raise Unavailable("no such data")

    monkeypatch.setattr(normal_or_not, "DATASETS", {"digits": gone})
    monkeypatch.setattr(compare_images, "SETS", {compare_images.SMALL: lambda _seed: gone()})
    assert normal_or_not.run(small=True)["left out"] == [
        f"{compare_images.SMALL}: no such data",
        "digits: no such data",
    ]
