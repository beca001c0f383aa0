"""Early-learning regularisation against a float64 twin; wrong labels it does not memorize."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from helpers.small_training import make_step
from ilk.core.data import Data
from ilk.core.metrics import log_loss, log_softmax, softmax
from ilk.methods.elr import ELR
from ilk.protocols import symmetric_noise
from ilk.training.heads import Head, cross_entropy, fit_head
from ilk.training.trainer import Batch

N, K = 12, 4


def visits(seed=0, times=4, of=5):
    """Logits and indices of the rows in each batch, in random order."""
    rng = np.random.default_rng(seed)
    for _ in range(times):
        yield 3 * rng.standard_normal((of, K)), rng.choice(N, of, replace=False)


def twin(method, y):
    """The paper row by row in float64: loss and its gradient in the logits, one target per row."""
    target = {}

    def loss(z, at, frozen=None):
        total, slope, used = 0.0, np.zeros_like(z), {}
        for r, (logits, i) in enumerate(zip(z, at, strict=True)):
            s = np.exp(logits - logits.max())
            s /= s.sum()
            p = np.clip(s, 1e-4, 1 - 1e-4)
            before = target.get(i, np.zeros(K))
            t = method.beta * before + (1 - method.beta) * p / p.sum()
            t = t if frozen is None else frozen[i]
            used[i] = t
            total += -np.log(s[y[i]]) + method.weight * np.log(1 - p @ t)
            slope[r] = s - np.eye(K)[y[i]]
            free = (s > 1e-4) & (s < 1 - 1e-4)
            jacobian = (np.diag(s) - np.outer(s, s)) * free[:, None]  # d p_k / d z_j
            slope[r] -= method.weight * (t @ jacobian) / (1 - p @ t)
        if frozen is None:
            target.update(used)
        return total / len(z), slope / len(z), used

    return loss


def objective_of(method, n):
    objective = method.make_objective()
    objective.setup(torch.nn.Identity(), Batch(torch.zeros(n, K), torch.zeros(n).long()))
    return objective


def ours(objective, z, at, y):
    z = torch.tensor(z, dtype=torch.float32, requires_grad=True)
    rows = torch.from_numpy(at)
    batch = Batch(z, torch.from_numpy(y)[rows], rows)
    loss = objective(torch.nn.Identity(), batch, make_step())
    loss.backward()
    return float(loss.detach()), z.grad.numpy()


@pytest.mark.parametrize("method", [ELR(0.7, 3.0), ELR(0.0, 1.0)])
def test_loss_and_gradient_match_the_paper_per_row_in_any_order(method):
    y = np.random.default_rng(9).integers(K, size=N)
    objective, slow = objective_of(method, N), twin(method, y)
    for z, at in visits():
        value, slope, _ = slow(z, at)
        got, grad = ours(objective, z, at, y)
        np.testing.assert_allclose(got, value, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(grad, slope, rtol=2e-3, atol=2e-5)


def test_the_gradient_is_the_finite_difference_with_fixed_targets():
    y = np.random.default_rng(9).integers(K, size=N)
    slow = twin(ELR(0.7, 3.0), y)
    for z, at in visits(times=3):
        _, slope, used = slow(z, at)
        step = np.zeros_like(z)
        step[1, 2] = 1e-5
        up, down = (slow(z + s * step, at, used)[0] for s in (1, -1))
        np.testing.assert_allclose((up - down) / 2e-5, slope[1, 2], rtol=1e-5, atol=1e-9)


def test_a_contradicted_label_pulls_less_than_under_cross_entropy():
    """The point of the paper: the gradient against an early prediction is cancelled."""
    y, at = np.array([1]), np.array([0])
    early, plain = objective_of(ELR(0.7, 3.0), 1), objective_of(ELR(0.7, 0.0), 1)
    z = np.array([[3.0, 0.0, 0.0, 0.0]])
    for _ in range(6):
        with_term, without = ours(early, z, at, y)[1], ours(plain, z, at, y)[1]
    assert without[0, 0] > 0.5  # cross-entropy lowers the early prediction
    assert with_term[0, 0] < 0.2


def noisy_digits(seed=0, n=700):
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(y))
    whole = Data((x / 16).astype(np.float32), y, tuple("0123456789")).take(order)
    clean, test = whole.take(np.arange(n)), whole.take(np.arange(n, len(y)))
    return clean, symmetric_noise(clean, 0.4, seed), test


def test_cross_entropy_memorizes_wrong_labels_and_elr_does_not():
    clean, noisy, test = noisy_digits()
    wrong = clean.y != noisy.y
    results = {}
    for weight in (0.0, 3.0):
        model = ELR(0.7, weight, hidden=128, epochs=120).fit(noisy)
        answer = model.logits(clean.x).argmax(1)
        memorized = np.mean(answer[wrong] == noisy.y[wrong])
        results[weight] = memorized, np.mean(model.logits(test.x).argmax(1) == test.y)
    assert results[0.0][0] > 0.6
    assert results[3.0][0] < 0.15
    assert results[3.0][1] > results[0.0][1] + 0.1


def test_without_weight_it_is_the_plain_head_at_another_temperature():
    _, noisy, test = noisy_digits(n=300)
    method = ELR(weight=0.0, hidden=16, epochs=1)
    net = Head.from_data(noisy, 16, 0)
    plain = fit_head(net, noisy, cross_entropy, method.make_recipe(len(noisy))).to_model()
    ratio = method.fit(noisy).logits(test.x) / plain.logits(test.x)
    assert ratio.min() > 0
    np.testing.assert_allclose(ratio, np.median(ratio), rtol=1e-3)


def test_the_temperature_minimizes_the_loss_on_the_training_labels():
    _, noisy, _ = noisy_digits(n=300)
    z = ELR(0.7, 3.0, hidden=64, epochs=30).fit(noisy).logits(noisy.x)
    best = log_loss(noisy.y, softmax(z, axis=1))
    assert best < log_loss(noisy.y, softmax(1.1 * z, axis=1))
    assert best < log_loss(noisy.y, softmax(0.9 * z, axis=1))
    assert np.isfinite(log_softmax(z, axis=1)).all()


@pytest.mark.parametrize(
    "fields",
    [{"beta": 1.0}, {"beta": -0.1}, {"weight": -1.0}, {"hidden": 0}, {"epochs": 0.0}],
)
def test_out_of_range_fields_raise(fields):
    with pytest.raises(ValueError, match=f"{next(iter(fields))} (is )?"):
        ELR(**fields)
