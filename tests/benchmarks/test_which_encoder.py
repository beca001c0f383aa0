"""The benchmark of encoders' scores runs small, and its figures are correct."""

import json

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau

from benchmarks import small_networks
from benchmarks.encoder_zoo import CandidateEncoder, _pool_pixels, sample_rows
from benchmarks.small_networks import SmallNetwork, count_weights, extract_features, train_network
from benchmarks.which_encoder import run as which_encoder
from benchmarks.which_encoder.agreement import (
    TMI,
    _fast_kendall_tau,
    bootstrap,
    score_encoders,
    tabulate_tau,
    tabulate_times,
)
from ilk.core.data import Data


def test_small_run_settles_its_claims():
    results = json.loads(json.dumps(which_encoder.run(small=True)))
    agree, spent = results["tables"]
    assert {c["baseline"] for c in agree["claims"]} >= {"LogME", "H-score", "kNN accuracy"}
    for row in agree["scores"]:
        assert -1 <= row["score"]["mean"] <= 1
    assert spent["better"] == "lower"
    first = results["encoders"][0]
    assert first["features"] == 64
    assert first["frozen"]["digits"] > 0.9
    assert set(results["bootstrap"]) == {row["method"] for row in agree["scores"]}


@pytest.fixture(scope="module")
def pictures():
    """Bars above or below, 28 x 28."""
    rng = np.random.default_rng(0)
    x, y = rng.random((1700, 28, 28)) * 0.5, np.arange(1700) % 2
    at = rng.integers(0, 12, 1700)
    for i in range(1700):
        x[i, at[i] + 14 * y[i]] += 0.5
    return Data(x.reshape(1700, -1).astype(np.float32), y, ("above", "below"))


def test_scores_are_of_rows_that_nothing_was_fitted_on(pictures, monkeypatch):
    monkeypatch.setattr(small_networks, "TUNING_STEPS", 12)
    net = train_network(pictures.take(np.arange(200)), 10, 16, 2)
    encoders = [
        CandidateEncoder("net", lambda x: extract_features(net, x), count_weights(net), net),
        CandidateEncoder("pixels 7", lambda x: _pool_pixels(x, 7)),
    ]
    scores = score_encoders(encoders, pictures, 0)
    assert scores["feature dimension"] == [16, 49]
    assert scores["parameters"] == [count_weights(net), 0]
    assert scores["LEEP"][1] is None is scores["fine-tuned"][1]
    assert 0.4 < scores["fine-tuned"][0] <= 1
    assert scores["frozen"][1] > 0.9
    assert score_encoders(encoders, pictures, 0)["frozen"] == scores["frozen"]


def test_source_rows_have_every_class_and_exclude_the_target():
    data = Data(np.arange(600.0)[:, None], np.repeat(np.arange(6), 100), tuple("abcdef"))
    source, target = sample_rows(data, 90), sample_rows(data, -90)
    assert source.count_labels().min() > 5
    assert len(source) == 90
    assert sorted([*source.x[:, 0], *target.x[:, 0]]) == list(range(600))


def test_weights_are_counted_up_to_the_features():
    net = SmallNetwork(5, 32, 4, 0)
    assert count_weights(net) == 4 * 25 + 4 + 8 * 4 * 9 + 8 + 98 * 4 * 32 + 32
    x = np.random.default_rng(0).random((3, 784)).astype(np.float32)
    f = extract_features(net, x)
    assert f.shape == (3, 32)
    assert (f >= 0).all()
    whole = net(torch.from_numpy(x).reshape(-1, 1, 28, 28)).detach().numpy()
    hand = f @ net.head.weight.detach().numpy().T + net.head.bias.detach().numpy()
    np.testing.assert_allclose(whole, hand, rtol=1e-4, atol=1e-5)


def test_downscaled_images_are_block_means():
    x = np.random.default_rng(0).random((2, 784)).astype(np.float32)
    small = _pool_pixels(x, 14).reshape(2, 14, 14)
    np.testing.assert_allclose(small[1, 3, 5], x[1].reshape(28, 28)[6:8, 10:12].mean(), rtol=1e-6)


def test_tau_by_all_pairs_is_scipys():
    rng = np.random.default_rng(0)
    for _ in range(5):
        a, b = rng.integers(0, 6, 12).astype(float), rng.standard_normal(12)
        assert _fast_kendall_tau(a, b) == pytest.approx(kendalltau(a, b).statistic)
    assert _fast_kendall_tau(np.ones(4), np.arange(4.0)) == 0


def world(seeds):
    """Two targets on which one score is always right, and one always wrong."""
    rng = np.random.default_rng(0)
    columns = {}
    for name in ("here", "there"):
        right = [rng.random(6) for _ in range(seeds)]
        columns[name] = [
            {
                "frozen": list(r),
                "LogME": list(2 * r),
                TMI: list(-r),
                "LEEP": [None] * 6,
                "parameters": [0.0] * 6,
                f"seconds {TMI}": [1.0] * 6,
                "seconds logistic regression": [4.0] * 6,
            }
            for r in right
        ]
    return columns


def test_a_table_holds_the_mean_tau_over_targets():
    results = tabulate_tau("both", world(3), "frozen")
    score = {row["method"]: row["score"]["mean"] for row in results["scores"]}
    assert score == pytest.approx({"LogME": 1.0, TMI: -1.0})
    (claim,) = results["claims"]
    assert claim["baseline"] == "LogME"
    assert claim["difference"]["mean"] == pytest.approx(-2)
    assert claim["verdict"] == "behind"


def test_the_interval_over_encoders_contains_the_mean():
    results = bootstrap(world(3), "frozen")
    assert results["LogME"]["tau"] == pytest.approx(1)
    assert 0.8 < results["LogME"]["low"] <= results["LogME"]["high"] <= 1 + 1e-9


def test_times_are_relative_to_logistic_regression():
    (row,) = tabulate_times(world(2))["scores"]
    assert row["score"]["mean"] == pytest.approx(0.25)
