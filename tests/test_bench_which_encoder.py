"""The benchmark of encoders' scores runs small, and its figures mean what they say."""

import json

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau

from ilk.bench import _small_networks, which_encoder
from ilk.bench._agreement import OURS, _quick, bootstrap, figures, tabled, times
from ilk.bench._encoder_zoo import Encoder, _pooled, drawn
from ilk.bench._small_networks import Network, seen_by, taught, weights
from ilk.data import Data


def test_runs_small_and_settles_its_claims():
    told = json.loads(json.dumps(which_encoder.run(small=True)))
    agree, spent = told["tables"]
    assert {c["against"] for c in agree["claims"]} >= {"LogME", "H-score", "kNN accuracy"}
    for row in agree["scores"]:
        assert -1 <= row["score"]["mean"] <= 1
    assert spent["better"] == "lower"
    first = told["encoders"][0]
    assert first["features"] == 64
    assert first["frozen"]["digits"] > 0.9
    assert set(told["bootstrap"]) == {row["method"] for row in agree["scores"]}


@pytest.fixture(scope="module")
def pictures():
    """Bars above or below, 28 x 28."""
    rng = np.random.default_rng(0)
    x, y = rng.random((1700, 28, 28)) * 0.5, np.arange(1700) % 2
    at = rng.integers(0, 12, 1700)
    for i in range(1700):
        x[i, at[i] + 14 * y[i]] += 0.5
    return Data(x.reshape(1700, -1).astype(np.float32), y, ("above", "below"))


def test_figures_are_of_rows_that_nothing_was_fitted_on(pictures, monkeypatch):
    monkeypatch.setattr(_small_networks, "TUNED", 12)
    net = taught(pictures.rows(np.arange(200)), 10, 16, 2)
    encoders = [
        Encoder("net", lambda x: seen_by(net, x), weights(net), net),
        Encoder("pixels 7", lambda x: _pooled(x, 7)),
    ]
    got = figures(encoders, pictures, 0)
    assert got["feature dimension"] == [16, 49]
    assert got["parameters"] == [weights(net), 0]
    assert got["LEEP"][1] is None is got["fine-tuned"][1]
    assert 0.4 < got["fine-tuned"][0] <= 1
    assert got["frozen"][1] > 0.9
    assert figures(encoders, pictures, 0)["frozen"] == got["frozen"]


def test_rows_to_teach_with_are_of_every_class_and_never_a_targets():
    data = Data(np.arange(600.0)[:, None], np.repeat(np.arange(6), 100), tuple("abcdef"))
    source, target = drawn(data, 90), drawn(data, -90)
    assert source.counts().min() > 5
    assert len(source) == 90
    assert sorted([*source.x[:, 0], *target.x[:, 0]]) == list(range(600))


def test_weights_are_counted_up_to_the_features():
    net = Network(5, 32, 4, 0)
    assert weights(net) == 4 * 25 + 4 + 8 * 4 * 9 + 8 + 98 * 4 * 32 + 32
    x = np.random.default_rng(0).random((3, 784)).astype(np.float32)
    f = seen_by(net, x)
    assert f.shape == (3, 32)
    assert (f >= 0).all()
    whole = net(torch.from_numpy(x).reshape(-1, 1, 28, 28)).detach().numpy()
    hand = f @ net.head.weight.detach().numpy().T + net.head.bias.detach().numpy()
    np.testing.assert_allclose(whole, hand, rtol=1e-4, atol=1e-5)


def test_smaller_pictures_are_means_of_blocks():
    x = np.random.default_rng(0).random((2, 784)).astype(np.float32)
    small = _pooled(x, 14).reshape(2, 14, 14)
    np.testing.assert_allclose(small[1, 3, 5], x[1].reshape(28, 28)[6:8, 10:12].mean(), rtol=1e-6)


def test_tau_by_all_pairs_is_scipys():
    rng = np.random.default_rng(0)
    for _ in range(5):
        a, b = rng.integers(0, 6, 12).astype(float), rng.standard_normal(12)
        assert _quick(a, b) == pytest.approx(kendalltau(a, b).statistic)
    assert _quick(np.ones(4), np.arange(4.0)) == 0


def world(seeds):
    """Two targets on which one score is always right, and one always wrong."""
    rng = np.random.default_rng(0)
    found = {}
    for name in ("here", "there"):
        right = [rng.random(6) for _ in range(seeds)]
        found[name] = [
            {
                "frozen": list(r),
                "LogME": list(2 * r),
                OURS: list(-r),
                "LEEP": [None] * 6,
                "parameters": [0.0] * 6,
                f"seconds {OURS}": [1.0] * 6,
                "seconds logistic regression": [4.0] * 6,
            }
            for r in right
        ]
    return found


def test_a_table_holds_the_mean_tau_over_targets():
    told = tabled("both", world(3), "frozen")
    score = {row["method"]: row["score"]["mean"] for row in told["scores"]}
    assert score == pytest.approx({"LogME": 1.0, OURS: -1.0})
    (claim,) = told["claims"]
    assert claim["against"] == "LogME"
    assert claim["difference"]["mean"] == pytest.approx(-2)
    assert claim["verdict"] == "behind"


def test_the_range_over_encoders_holds_the_figure():
    told = bootstrap(world(3), "frozen")
    assert told["LogME"]["tau"] == pytest.approx(1)
    assert 0.8 < told["LogME"]["low"] <= told["LogME"]["high"] <= 1 + 1e-9


def test_times_are_by_those_of_logistic_regression():
    (row,) = times(world(2))["scores"]
    assert row["score"]["mean"] == pytest.approx(0.25)
