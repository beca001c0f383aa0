"""Learning curves: nothing leaks, crossings are where they are, the simulation knows its truth."""

import json

import numpy as np
import pytest
from scipy.stats import norm

from benchmarks.disc_vs_gen import run as bench
from benchmarks.disc_vs_gen_simulated import run as simulated
from ilk.methods.naive_bayes import NaiveBayes
from tools.docs.plots import draw_all

GRID = [10, 100, 1000]


@pytest.fixture(scope="module")
def small():
    return json.loads(json.dumps(bench.run(small=True)))


def test_curves_fall_and_differences_are_paired(small):
    results = small["digits, pixels"]
    errors = {row["m"]: row for row in results["error"]}
    for name in bench.METHODS:
        assert errors[500][name]["mean"] < errors[20][name]["mean"] < 0.95
    first = results["crossing"][0]
    one, other = bench.PAIRS[first["pair"]]
    for m, key in ((20, "lead of the first at the smallest m"), (500, "at the largest m")):
        lead = errors[m][other]["mean"] - errors[m][one]["mean"]
        assert first[key]["mean"] == pytest.approx(lead, abs=2e-5)
    assert 20 < first["m*"] < 500
    assert first["low"] <= first["m*"] <= first["high"]


def test_its_plots_can_be_drawn(small):
    simulation = json.loads(json.dumps(simulated.run(small=True)))
    pages = draw_all({"one": {"result": small}, "two": {"result": simulation}})
    assert set(pages) == {"disc_vs_gen-digits-pixels.svg", "disc_vs_gen_simulated.svg"}


def test_a_line_over_ln_m_crosses_at_its_zero():
    lead = np.log(50) - np.log(GRID)
    assert bench.find_crossing(GRID, lead) == pytest.approx(50)


def test_a_method_always_ahead_never_crosses():
    assert bench.find_crossing(GRID, np.array([0.1, 0.2, 0.1])) == np.inf
    assert bench.find_crossing(GRID, np.array([-0.1, -0.2, -0.1])) == 0


def test_a_temporary_dip_is_no_crossing():
    dip = np.array([0.3, 0.3, -0.01, 0.2, -0.4])
    grid = [1, 10, 100, 1000, 10_000]
    assert 1000 < bench.find_crossing(grid, dip) < 10_000
    assert bench.find_crossing(grid, -dip) == 0  # the other way round, and only in passing


def brute(grid, gap):
    """The cut at which area before less area after is greatest, among ten thousand."""
    at = np.linspace(np.log(grid[0]), np.log(grid[-1]), 10_001)
    value = np.interp(at, np.log(grid), gap)
    area = np.concatenate([[0], np.cumsum((value[1:] + value[:-1]) / 2)])
    return float(np.exp(at[np.argmax(area)]))


def test_crossings_agree_with_an_exhaustive_search():
    rng = np.random.default_rng(0)
    grid, inside = [20, 50, 100, 200, 500], 0
    for _ in range(50):
        gap = rng.standard_normal(5)
        results, tried = bench.find_crossing(grid, gap), brute(grid, gap)
        if 0 < results < np.inf:
            assert results == pytest.approx(tried, rel=2e-3)
            inside += 1
        else:
            assert tried == pytest.approx(20 if results == 0 else 500, rel=2e-3)
    assert inside > 10


def test_the_interval_covers_the_spread_of_the_draws():
    lines = np.log([[40.0], [50], [60], [70]]) - np.log(GRID)
    wide = bench.estimate_crossing(GRID, lines)
    assert 40 < wide["low"] < wide["m*"] < wide["high"] < 70
    sure = bench.estimate_crossing(GRID, np.repeat(lines[:1], 4, 0))
    assert sure["low"] == sure["m*"] == sure["high"] == pytest.approx(40)
    assert sure["ahead"] == "first, then second"
    early = bench.estimate_crossing(GRID, np.concatenate([lines[:2], -1 - 0 * lines[:2]]))
    assert early["low"] is None  # some resamples hold no lead of the first at all


def test_no_crossing_gives_none():
    results = bench.estimate_crossing(GRID, np.full((3, 3), 0.1))
    assert (results["m*"], results["low"], results["high"]) == (None, None, None)
    assert results["ahead"] == "first at every m"
    assert bench.estimate_crossing(GRID, np.full((3, 3), -0.1))["ahead"] == "second at every m"
    mixed = np.tile([-0.3, -0.1, 0.1], (3, 1))
    assert bench.estimate_crossing(GRID, mixed)["ahead"] == "mixed"


def test_every_class_is_drawn_and_no_row_twice():
    y = np.repeat(np.arange(10), 30)
    rows = [bench.sample_rows(y, 15, seed) for seed in range(5)]
    for one in rows:
        assert len(set(one.tolist())) == 15
        assert set(y[one]) == set(range(10))
    assert not np.array_equal(np.sort(rows[0]), np.sort(rows[1]))
    assert np.array_equal(rows[0], bench.sample_rows(y, 15, 0))


def test_splits_share_no_row_and_test_rows_change_no_model():
    x = np.arange(300, dtype=np.float32)[:, None] + np.zeros(3, np.float32)
    split = bench._split_rows(x, np.arange(300) % 3, 200)
    assert not set(split.x[:, 0]) & set(split.test_x[:, 0])
    assert len(split.x) + len(split.test_x) == 300


def test_the_scale_comes_from_the_drawn_rows_only(monkeypatch):
    rng = np.random.default_rng(0)
    y = np.arange(200) % 2
    x = (rng.standard_normal((200, 4)) + y[:, None]).astype(np.float32)
    seen = []

    class Watched:
        def fit(self, data):
            seen.append(data.x)
            return NaiveBayes().fit(data)

    monkeypatch.setattr(bench, "METHODS", {"watched": Watched()})
    split = bench.PoolSplit(x[:100], y[:100], 50 * x[100:], y[100:])
    bench.measure_errors(split, 20, 0)
    np.testing.assert_allclose(seen[0].min(0), 0, atol=1e-6)
    np.testing.assert_allclose(seen[0].max(0), 1, atol=1e-6)
    wild = bench.PoolSplit(1e6 * x[:100], y[:100], split.test_x, y[100:])
    rows = bench.sample_rows(y[:100], 20, 0)
    wild.x[rows] = x[:100][rows]  # rows that are not drawn do not count
    bench.measure_errors(wild, 20, 0)
    np.testing.assert_array_equal(seen[0], seen[1])


def test_each_method_has_one_error_of_its_own():
    x, y = bench.read_digits()
    split = bench._split_rows(x, y, 1297)
    results = bench.measure_errors(split, 200, 0)
    assert len(results) == len(bench.METHODS)
    assert len(set(results)) > 3
    assert max(results) < 0.5


def test_random_convolution_depends_on_position():
    images = np.random.default_rng(1).integers(0, 255, (3, 1, 8, 8)).astype(np.uint8)
    features = bench.convolve_randomly(images)
    assert features.shape == (3, 512)
    assert features.min() >= 0
    moved = bench.convolve_randomly(np.roll(images, 4, axis=3))
    assert not np.allclose(features, moved)
    np.testing.assert_allclose(bench.convolve_randomly(images[1:2]), features[1:2], rtol=1e-5)


def test_the_true_error_equals_a_simulated_one():
    variance, means = np.array([4.0, 1.0, 2.0]), np.array([-1.0, 1.0])
    weight, bias = np.array([[0.0, 0, 0], [0.2, 0.5, 0.1]]), np.array([0.0, 0.15])
    spread = np.sqrt(np.sum(weight[1] ** 2 * variance))
    results = np.mean([norm.cdf((s * (0.15 + m * 0.8)) / spread) for m, s in ((-1, 1), (1, -1))])
    assert simulated.compute_true_error(weight, bias, means, variance) == pytest.approx(
        results, abs=0.006
    )


def test_only_the_true_parameters_reach_the_bayes_error():
    means, variance = np.array([-1.0, 1, 2]), np.full(20, 9.0)
    weight = np.outer(means, 1 / variance)
    bias = -(means**2) * np.sum(1 / variance) / 2
    best = simulated.compute_true_error(weight, bias, means, variance)
    assert best > 0.05
    for shift in ([0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]):
        assert simulated.compute_true_error(weight, bias + shift, means, variance) > best


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_rows_needed_are_the_smallest_that_suffice(seed):
    method = bench.METHODS["logistic regression, C = 1"]
    results = simulated.find_needed_rows(2, 32, method, seed)
    means, variance = np.array([-1.0, 1.0]), np.where(np.arange(32) % 2, 1.0, 32.0)

    def near(m):
        model = simulated._fit_linear(method, means, variance, m, seed)
        return simulated.compute_true_error(*model, means, variance) <= bayes + 0.01

    bayes = norm.cdf(-np.sqrt(np.sum(1 / variance)))
    assert near(results)
    assert not all(near(m) for m in range(int(0.94 * results), results))


def test_logistic_regression_needs_more_rows_with_width_than_naive_bayes():
    results = simulated.simulate(2, (32, 64, 128), 2)
    rows = results["needed"]
    assert (
        rows[-1]["logistic regression, C = 1"]["mean"]
        > 2 * rows[0]["logistic regression, C = 1"]["mean"]
    )
    assert rows[-1]["naive Bayes"]["mean"] < 20
    power = {name: value["mean"] for name, value in results["power"].items()}
    assert power["naive Bayes"] < 0.4 < power["logistic regression, C = 1"]
