"""Causal paths: a planted circuit is recovered exactly, and effects equal those of whole runs."""

import copy

import numpy as np
import pytest
import torch
from scipy.stats import ttest_1samp
from torch import nn
from torch.nn import functional

from ilk.core.errors import InputError, Unavailable
from ilk.explain.causal_paths import Criteria, compute_shares, find_positive, trace_causal_paths
from ilk.explain.explainers.causal_paths import CausalPaths, keep_greatest
from ilk.explain.interventions import InterventionRunner
from ilk.explain.unit_effects import (
    measure_joint_effects,
    measure_path_effects,
    measure_unit_effects,
)

CIRCUIT = {(1, 2), (3, 2), (3, 5)}  # unit of the first layer -> unit of the second


class PlantedNetwork(nn.Module):
    """Units 2 and 5 of the second layer alone reach the score; the first layer feeds them so."""

    def __init__(self, with_norm=False):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(1, 6, 3, padding=1), nn.Conv2d(6, 8, 3, padding=1)
        self.act1, self.act2 = nn.ReLU(), nn.ReLU()
        self.norm = nn.BatchNorm2d(8) if with_norm else nn.Identity()
        self.head = nn.Linear(8, 2)
        with torch.no_grad():
            self.first.weight[[1, 3]] = self.first.weight[[1, 3]].abs()  # they like bright images
            for v in (2, 5):
                self.second.weight[v] = 0
                for u in range(6):
                    if (u, v) in CIRCUIT:
                        self.second.weight[v, u] = 0.2
            self.second.bias[[2, 5]] = 0.5
            self.head.weight.zero_()
            self.head.weight[1, [2, 5]] = 1.0
        if with_norm:
            self.norm.running_mean.uniform_(-0.1, 0.1)
            self.norm.running_var.uniform_(0.5, 2.0)
            self.norm.weight.data.uniform_(0.5, 1.5)
            self.norm.bias.data.fill_(0.3)
        self.eval().requires_grad_(False)

    def forward(self, x):
        maps = self.act2(self.norm(self.second(self.act1(self.first(x)))))
        return self.head(maps.mean((2, 3)))


class Shortcut(nn.Module):
    """A residual block whose addition needs as many rows on both sides."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.stem, self.inner = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.act, self.act2 = nn.ReLU(inplace=True), nn.ReLU(inplace=True)
        self.head = nn.Linear(4, 2)
        self.eval().requires_grad_(False)

    def forward(self, x):
        x = self.act(self.stem(x))
        return self.head(self.act2(self.inner(x) + x).mean((2, 3)))


def draw(n=24, seed=0):
    rng = np.random.default_rng(seed)
    bright = torch.from_numpy((1 + rng.random((n, 1, 6, 6))).astype(np.float32))
    dark = torch.from_numpy(rng.random((n, 1, 6, 6)).astype(np.float32) * 0.2)
    return bright, torch.cat([bright, dark])


def score(out):
    return out[:, 1] - out[:, 0]


@pytest.mark.parametrize("with_norm", [False, True])
def test_a_planted_circuit_is_recovered_exactly(with_norm):
    network = PlantedNetwork(with_norm)
    before = copy.deepcopy(network.state_dict())
    images, reference = draw()
    graph = trace_causal_paths(network, images, reference, score, n_layers=2)
    assert graph.units.tolist() == [2, 5]
    assert set(map(tuple, graph.layers[0].edges.tolist())) == CIRCUIT
    assert graph.layers[0].inputs.tolist() == [1, 3]
    assert set(graph.layers[1].edges[:, 1].tolist()) == {1, 3}
    assert np.flatnonzero(graph.get_weights()).tolist() == [2, 5]
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_the_effects_of_a_unit_and_of_a_path_equal_those_of_whole_runs():
    network = PlantedNetwork()
    images, reference = draw(5)
    runner, means = InterventionRunner(network, images), InterventionRunner(network, reference)
    layer, mean = runner.layers[-1], means.layers[-1]
    units = measure_unit_effects(runner, layer, mean.activation, score)
    paths = measure_path_effects(runner, layer, mean.x, np.arange(8), score)
    a_ref = network.act1(network.first(reference))
    z_ref = network.act2(network.second(a_ref))
    a = network.act1(network.first(images))
    z = network.second(a)
    base = score(network(images).numpy())

    def finish(maps):
        return score(network.head(maps.mean((2, 3))).numpy())

    maps = network.act2(z)
    maps[:, 5] = z_ref[:, 5].mean()
    np.testing.assert_allclose(units[5], base - finish(maps), rtol=1e-4, atol=1e-6)
    for u, v in ((3, 2), (0, 1), (3, 5)):
        other = a.clone()
        other[:, u] = a_ref[:, u].mean()
        changed = z.clone()
        changed[:, v] = network.second(other)[:, v]  # the path u -> v alone
        want = base - finish(network.act2(changed))
        np.testing.assert_allclose(paths[u, v], want, rtol=1e-4, atol=1e-6)


def test_effects_of_a_linear_head_add_up():
    images, reference = draw(6)
    network = PlantedNetwork()
    runner, means = InterventionRunner(network, images), InterventionRunner(network, reference)
    mean = means.layers[-1].activation
    effects = measure_unit_effects(runner, runner.layers[-1], mean, score)
    pooled = torch.stack([mean.mean((0, 2, 3))])
    total = score(network(images).numpy()) - score(network.head(pooled).numpy())
    np.testing.assert_allclose(effects.sum(0), total, rtol=1e-4)
    joint = measure_joint_effects(runner, runner.layers[-1], mean, [1, 2, 5], score)
    np.testing.assert_allclose(joint, 0, atol=1e-5)


def test_a_stand_in_shows_in_pairs():
    """The score is the greater of two units, so that either alone is of no use."""
    images, reference = draw(6)
    network = PlantedNetwork()
    with torch.no_grad():
        network.second.weight[5], network.second.bias[5] = network.second.weight[2], 0.5
        network.head = nn.Identity()
    runner, means = InterventionRunner(network, images), InterventionRunner(network, reference)
    joint = measure_joint_effects(
        runner,
        runner.layers[-1],
        means.layers[-1].activation,
        [2, 5],
        lambda z: z[:, [2, 5]].max(1),
    )
    own = measure_unit_effects(
        runner, runner.layers[-1], means.layers[-1].activation, lambda z: z[:, [2, 5]].max(1)
    )
    np.testing.assert_allclose(own[[2, 5]], 0, atol=1e-6)
    assert joint[0, 1] > 0.1
    np.testing.assert_array_equal(joint, joint.T)


def test_a_shortcut_and_work_in_place_are_survived():
    network = Shortcut()
    images, reference = draw(5)
    runner, means = InterventionRunner(network, images), InterventionRunner(network, reference)
    layer = runner.layers[-1]
    effects = measure_path_effects(runner, layer, means.layers[-1].x, np.arange(4), score)
    x = functional.relu(network.stem(images))
    ref = functional.relu(network.stem(reference))
    other = x.clone()
    other[:, 1] = ref[:, 1].mean()
    z = network.inner(x)
    z[:, 2] = network.inner(other)[:, 2]
    want = score(network(images).numpy()) - score(
        network.head(functional.relu(z + x).mean((2, 3))).numpy()
    )
    np.testing.assert_allclose(effects[1, 2], want, rtol=1e-4, atol=1e-6)


def test_blocks_change_nothing(monkeypatch):
    from ilk.explain import unit_effects

    images, reference = draw()
    whole = trace_causal_paths(PlantedNetwork(), images, reference, score)
    monkeypatch.setattr(unit_effects, "BLOCK_VALUES", 1)
    small = trace_causal_paths(PlantedNetwork(), images, reference, score)
    np.testing.assert_allclose(small.unit_effects, whole.unit_effects, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(small.layers[0].edges, whole.layers[0].edges)


def test_the_false_discovery_rate_is_kept():
    rng = np.random.default_rng(0)
    share = []
    for _ in range(60):
        effects = rng.standard_normal((100, 20))
        effects[:20] += 1.5
        found = find_positive(effects)
        share.append(found[20:].sum() / max(1, found.sum()))
        assert found[:20].mean() > 0.8
    assert np.mean(share) < 0.06
    assert not find_positive(-np.ones((3, 5))).any()
    assert find_positive(np.ones((0, 5))).shape == (0,)
    assert find_positive(np.ones((3, 5))).all()


def select_discoveries(p, rate):
    """Of m ordered p-values the first k, k the largest with p_(k) <= rate k / m."""
    order = np.argsort(p)
    below = np.flatnonzero(p[order] <= rate * np.arange(1, len(p) + 1) / len(p))
    found = np.zeros(len(p), bool)
    found[order[: below[-1] + 1 if len(below) else 0]] = True
    return found


@pytest.mark.parametrize("n", [3, 4, 30])
def test_what_is_found_is_what_the_step_up_procedure_finds(n):
    """Second derivation: one-sided t tests of scipy, and Benjamini-Hochberg as it is defined."""
    rng = np.random.default_rng(n)
    counts = set()
    for _ in range(40):
        effects = rng.standard_normal((12, n)) + rng.uniform(0, 3, (12, 1))
        p = ttest_1samp(effects, 0, axis=1, alternative="greater").pvalue
        for fdr in (0.05, 0.2):
            expected = select_discoveries(p, fdr)
            np.testing.assert_array_equal(find_positive(effects, fdr), expected)
            counts.add(int(expected.sum()))
    assert len(counts) > 3


def test_shares_and_criteria():
    effects = np.array([[3.0, 1.0], [-1.0, -1.0], [1.0, 1.0]])
    np.testing.assert_allclose(compute_shares(effects), [0.5, -0.25, 0.25])
    images, reference = draw()
    graph = trace_causal_paths(PlantedNetwork(), images, reference, score)
    share = compute_shares(graph.unit_effects)
    strict = Criteria(min_share=float(share[[2, 5]].min()))
    assert trace_causal_paths(PlantedNetwork(), images, reference, score, strict).units.size == 1
    never = Criteria(min_fall=1.0)
    assert trace_causal_paths(PlantedNetwork(), images, reference, score, never).layers == ()


def test_what_cannot_be_traced_is_refused_in_one_sentence():
    images, reference = draw()
    with pytest.raises(InputError, match="three or more"):
        trace_causal_paths(PlantedNetwork(), images[:2], reference, score)
    linear = nn.Sequential(nn.Flatten(), nn.Linear(36, 2)).eval()
    with pytest.raises(Unavailable, match="convolutional network"):
        trace_causal_paths(linear, images, reference, score)


def test_the_fewest_channels_that_hold_most_of_the_effect_are_kept():
    effects = np.array([0.1, -5.0, 0.6, 0.3, 0.0])
    np.testing.assert_array_equal(keep_greatest(effects, 0.9), [0, 0, 0.6, 0.3, 0])
    np.testing.assert_array_equal(keep_greatest(effects, 0.5), [0, 0, 0.6, 0, 0])
    np.testing.assert_array_equal(keep_greatest(effects, 1.0), [0.1, 0, 0.6, 0.3, 0])
    np.testing.assert_array_equal(keep_greatest(-np.abs(effects), 0.9), 0)
    with pytest.raises(InputError, match="at most 1"):
        CausalPaths(kept=0)
