"""DiffROAR: nothing for random attributions, much for those that know where the signal lies."""

import numpy as np
import pytest
import torch
from torch import nn

from ilk.core.errors import InputError
from ilk.explain.diffroar import (
    compute_input_gradients,
    keep_ranked,
    measure_diffroar,
    measure_mass_inside,
)


def test_what_is_kept_by_hand():
    x = np.array([[1.0, 2, 3, 4, 5]])
    values = np.array([[0.1, 0.9, 0.5, 0.3, 0.7]])
    top = keep_ranked(x, values, 0.4, "top", -1.0)
    bottom = keep_ranked(x, values, 0.4, "bottom", -1.0)
    assert top.tolist() == [[-1, 2, -1, -1, 5]]
    assert bottom.tolist() == [[1, -1, -1, 4, -1]]


def test_constant_attributions_keep_entries_at_random_and_not_the_first():
    x = np.arange(1.0, 101)[None]
    kept = keep_ranked(x, np.zeros_like(x), 0.2, "top", 0.0)
    assert (kept > 0).sum() == 20
    assert kept[kept > 0].min() < 30
    assert kept.max() > 70


def make_blocks(n, seed):
    """Rows of two blocks of ten: one of them tells the class, the other is noise."""
    rng = np.random.default_rng(seed)
    y, is_left = rng.integers(0, 2, n), rng.random(n) < 0.5
    x = rng.normal(size=(n, 20))
    signal = np.zeros((n, 20), bool)
    signal[is_left, :10] = signal[~is_left, 10:] = True
    return np.where(signal, x + 2.0 * (2 * y[:, None] - 1), x), y, signal


def fit_means(x, y, test_x, test_y):
    """Nearest class mean of the sum of the entries."""
    sums, test_sums = x.sum(1), test_x.sum(1)
    means = [sums[y == c].mean() for c in (0, 1)]
    predicted = np.abs(test_sums[:, None] - means).argmin(1)
    return float((predicted == test_y).mean())


def measure(make_attribution):
    (x, y, signal), (test_x, test_y, test_signal) = make_blocks(600, 0), make_blocks(600, 1)
    return measure_diffroar(
        x, y, make_attribution(signal, 0), test_x, test_y, make_attribution(test_signal, 1),
        fit_means, (0.2, 0.4),
    )  # fmt: skip


def test_an_attribution_that_knows_the_signal_is_above_0():
    for power in measure(lambda signal, _seed: signal.astype(float)):
        assert power.top > 0.95
        assert power.bottom < 0.6
        assert power.difference == power.top - power.bottom


def test_one_that_points_at_the_noise_is_below_0():
    assert all(p.difference < -0.35 for p in measure(lambda signal, _seed: -signal.astype(float)))


def test_random_attributions_are_0_in_expectation():
    def at_random(repetition):
        return lambda signal, part: np.random.default_rng([repetition, part]).random(signal.shape)

    differences = [p.difference for i in range(40) for p in measure(at_random(i))]
    error = np.std(differences) / np.sqrt(len(differences))
    assert abs(np.mean(differences)) < 3 * error
    assert error < 0.01


def test_input_gradients_of_a_linear_network_are_known():
    torch.manual_seed(0)
    network = nn.Linear(4, 3)
    x, y = np.random.default_rng(0).normal(size=(5, 4)), np.array([0, 1, 2, 0, 1])
    weight = network.weight.detach().double().numpy()
    z = x @ weight.T + network.bias.detach().double().numpy()
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    for labels, given in ((y, y), (z.argmax(1), None)):
        expected = np.abs((p - np.eye(3)[labels]) @ weight)
        np.testing.assert_allclose(compute_input_gradients(network, x, given), expected, atol=1e-6)


def test_mass_inside_counts_the_first_entries():
    values = np.array([[4.0, 3, 2, 1], [1, 2, 3, 4]])
    inside = np.array([[True, True, False, False]] * 2)
    assert measure_mass_inside(values, inside, 0.5) == 0.5
    assert measure_mass_inside(values[:1], inside[:1], 0.5) == 1.0


def test_the_fill_is_the_mean_of_the_training_rows_on_both_sides():
    x, test_x = np.array([[1.0, 2, 3, 6]]), np.array([[10.0, 20, 30, 40]])
    seen = []

    def retrain(kept, _y, test_kept, _test_y):
        seen.append((kept.tolist(), test_kept.tolist()))
        return float(len(seen))

    order, y = np.array([[1.0, 2, 3, 4]]), np.zeros(1, np.int64)
    [power] = measure_diffroar(x, y, order, test_x, y, -order, retrain, (0.25,))
    assert seen == [([[3, 3, 3, 6]], [[10, 3, 3, 3]]), ([[1, 3, 3, 3]], [[3, 3, 3, 40]])]
    assert (power.level, power.top, power.bottom, power.difference) == (0.25, 1, 2, -1)


def test_wrong_shapes_and_shares_are_refused():
    with pytest.raises(InputError, match="give one value per entry"):
        keep_ranked(np.zeros((2, 3)), np.zeros((2, 4)), 0.5, "top", 0)
    with pytest.raises(InputError, match="it lies in"):
        keep_ranked(np.zeros((2, 3)), np.zeros((2, 3)), 1.0, "top", 0)
