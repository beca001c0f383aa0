"""Early-learning regularisation against a float64 twin; wrong labels it does not memorize."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from helpers.small_training import make_step
from ilk.core.data import Data
from ilk.core.linear_models import MLP
from ilk.core.metrics import log_loss, log_softmax, softmax
from ilk.maths.folds import assign_folds
from ilk.methods.elr import CONFIGS, ELR, N_FOLDS, UNTESTED, _count_correct
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


SMALL = {"hidden": 32, "epochs": 40}


def test_the_default_is_the_pair_that_agrees_most_with_held_out_labels(monkeypatch):
    _, noisy, _ = noisy_digits(n=300)
    trained = []
    train = ELR._train

    def record(self, data, n_steps=None):
        model = train(self, data, n_steps)
        trained.append(((self.beta, self.weight), n_steps, data, model))
        return model

    monkeypatch.setattr(ELR, "_train", record)
    method = ELR(seed=4, **SMALL)
    model = method.fit(noisy)
    *tried, (final, steps, whole, last) = trained
    fold, counts = assign_folds(noisy.y, N_FOLDS, 4), dict.fromkeys(CONFIGS, 0)
    for f in range(N_FOLDS):
        for pair in CONFIGS:
            at = CONFIGS.index(pair) + f * len(CONFIGS)
            given, n_steps, part, candidate = tried[at]
            assert given == pair
            assert n_steps == 100  # half of the rows, as many passes: half of the updates
            np.testing.assert_array_equal(part.x, noisy.x[fold != f])
            held_out = candidate.logits(noisy.x[fold == f]).argmax(1)
            counts[pair] += np.sum(held_out == noisy.y[fold == f])
    assert len(set(counts.values())) > 1
    assert final == max(counts, key=counts.get)
    assert steps is None
    assert len(whole) == 300
    assert (model.logits(noisy.x).argmax(1) == last.logits(noisy.x).argmax(1)).all()


def test_the_default_does_not_fit_wrong_labels():
    clean, noisy, test = noisy_digits()
    wrong = clean.y != noisy.y
    fitted, correct = [], []
    for method in (ELR(), ELR(weight=0.0)):
        model = method.fit(noisy)
        fitted.append(np.mean(model.logits(clean.x).argmax(1)[wrong] == noisy.y[wrong]))
        correct.append(np.mean(model.logits(test.x).argmax(1) == test.y))
    assert fitted[0] < 0.5 * fitted[1]
    assert correct[0] > correct[1] + 0.04


def test_what_is_given_is_kept_and_what_cannot_be_held_out_is_not_tried(monkeypatch):
    _, noisy, _ = noisy_digits(n=200)
    assert ELR(0.3, 2.0).choose(noisy) == ELR(0.3, 2.0)
    assert ELR(weight=0.0).choose(noisy).weight == 0.0
    assert ELR(beta=0.5, **SMALL)._list_configs() == [(0.5, w) for _, w in CONFIGS]
    assert ELR(weight=2.0, **SMALL)._list_configs() == [(0.9, 2.0), (0.7, 2.0)]
    tried = []
    train = ELR._train
    monkeypatch.setattr(
        ELR, "_train", lambda self, data, n=None: tried.append(self) or train(self, data, 2)
    )
    ELR(weight=2.0, **SMALL).choose(noisy)
    assert {(m.beta, m.weight) for m in tried} == {(0.9, 2.0), (0.7, 2.0)}
    tried.clear()
    one_each = noisy.take(np.unique(noisy.y, return_index=True)[1])
    assert ELR(**SMALL).choose(one_each) == ELR(*UNTESTED, **SMALL)
    assert not tried
    with pytest.raises(ValueError, match=r"choose\(data\)"):
        ELR().make_objective()


def test_a_group_is_never_on_both_sides_of_the_choice(monkeypatch):
    _, noisy, _ = noisy_digits(n=100)
    noisy = replace(noisy, group=np.repeat(np.arange(50), 2))
    sides = []
    train = ELR._train
    monkeypatch.setattr(
        ELR,
        "_train",
        lambda self, data, n=None: sides.append(set(data.group)) or train(self, data, 2),
    )
    ELR(hidden=4, epochs=1).choose(noisy)
    assert sides
    assert all(len(side) < 50 for side in sides)
    assert not sides[0] & sides[-1]


def test_a_row_counts_by_its_weight_where_pairs_are_compared():
    model = MLP.__new__(MLP)
    object.__setattr__(model, "logits", lambda x: x)
    rows = Data(np.eye(3, dtype=np.float32), np.array([0, 1, 0]), ("a", "b", "c"))
    assert _count_correct(model, rows) == 2
    weighted = replace(rows, weight=np.array([0.5, 4.0, 7.0]))
    assert _count_correct(model, weighted) == 4.5


@pytest.mark.parametrize(
    "fields",
    [{"beta": 1.0}, {"beta": -0.1}, {"weight": -1.0}, {"hidden": 0}, {"epochs": 0.0}],
)
def test_out_of_range_fields_raise(fields):
    with pytest.raises(ValueError, match=f"{next(iter(fields))} (is )?"):
        ELR(**fields)
