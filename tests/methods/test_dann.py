"""The reversed gradient, the loss against a loop, and a nuisance feature of the domain."""

import numpy as np
import pytest
import torch

from ilk.core.data import Data
from ilk.core.errors import InputError
from ilk.maths.domain_separability import domain_separability, proxy_a_distance
from ilk.methods.dann import DANN
from ilk.training.batch import Batch
from ilk.training.heads import Head
from ilk.training.objectives.domain_adversarial import (
    DomainAdversarial,
    reverse_gradient,
    schedule_strength,
)


def shifted(n=400, seed=0):
    """Source and target (without labels): one feature predicts the class in both, one only here."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, 2 * n)
    side = 2.0 * y - 1
    target = np.arange(2 * n) >= n
    x = rng.standard_normal((2 * n, 6))
    x[:, 0] += 1.5 * side
    x[:, 1] = np.where(target, 3.0, 2 * side) + 0.5 * rng.standard_normal(2 * n)
    train = Data(x.astype(np.float32), np.where(target, -1, y), ("a", "b"))
    return train, x[n:].astype(np.float32), y[n:]


def test_the_backward_pass_reverses_the_gradient_and_the_forward_pass_is_identity():
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    out = reverse_gradient(x, 0.7)
    assert torch.equal(out, x)
    (out**3).sum().backward()
    torch.testing.assert_close(x.grad, -0.7 * 3 * x.detach() ** 2)


def test_the_weight_follows_the_schedule_of_the_paper():
    for p in (0.0, 0.1, 0.5, 1.0):
        assert schedule_strength(p) == pytest.approx(np.tanh(5 * p), abs=1e-12)


def contested():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        objective = DomainAdversarial()
        objective.setup(Head(5, 8, 3), Batch(torch.zeros(0), torch.zeros(0)))
        return objective


def test_the_domain_loss_counts_each_side_half():
    net = contested()
    h = torch.randn(9, 8, generator=torch.Generator().manual_seed(1)).abs()
    target = torch.tensor([True] * 2 + [False] * 7)
    logit = net.domain_classifier(h)[:, 0].detach().double().numpy()
    p = 1 / (1 + np.exp(-logit))
    want = (-np.log(p[:2]).mean() - np.log(1 - p[2:]).mean()) / 2
    assert net.compute_domain_loss(h, target, 0.3).item() == pytest.approx(want, rel=1e-5)
    for one_sided in (target & False, target | True):
        assert net.compute_domain_loss(h, one_sided, 0.3).item() == 0


def test_hidden_units_climb_what_the_domain_classifier_descends():
    net = contested()
    target = torch.tensor([True] * 4 + [False] * 5)

    def slopes(strength):
        net.zero_grad()
        h = torch.randn(9, 8, generator=torch.Generator().manual_seed(1)).requires_grad_()
        net.compute_domain_loss(h, target, strength).backward()
        return h.grad, net.domain_classifier[0].weight.grad.clone()

    plain, own = slopes(-1.0)  # a strength of -1 reverses nothing
    turned, same = slopes(0.4)
    torch.testing.assert_close(turned, -0.4 * plain)
    torch.testing.assert_close(same, own)
    assert own.abs().max() > 0


def test_without_unlabelled_rows_there_is_no_adversarial_loss():
    data = shifted()[0].take_labelled()
    x = shifted(seed=1)[1]
    np.testing.assert_array_equal(
        DANN(strength=3.0, epochs=3.0).fit(data).logits(x),
        DANN(strength=0.0, epochs=3.0).fit(data).logits(x),
    )


def test_target_accuracy_improves_and_hidden_units_are_less_separable():
    data, x, y = shifted()
    plain, adverse = (DANN(strength=s).fit(data) for s in (0.0, 1.0))
    right = [np.mean(model.logits(x).argmax(1) == y) for model in (plain, adverse)]
    assert right[1] > right[0] + 0.05
    source = data.take_labelled().x
    separability = [
        domain_separability(m.compute_hidden(source), m.compute_hidden(x)) for m in (plain, adverse)
    ]
    assert separability[1] < separability[0] - 0.02


def test_separability_is_chance_for_one_domain_and_certain_for_two():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 2000, 4))
    assert abs(domain_separability(a, b) - 0.5) < 0.04
    assert domain_separability(a, b + 20) == 1
    assert domain_separability(a, b[:40] + 20) == 1
    known = domain_separability(a[:, :1], b[:, :1] + 2)  # two Gaussians 2 apart: Phi(1)
    assert known == pytest.approx(0.8413, abs=0.02)


def test_the_proxy_distance_runs_from_0_to_2():
    assert [proxy_a_distance(share) for share in (0.4, 0.5, 0.75, 1.0)] == [0, 0, 1, 2]


def test_too_few_rows_raise():
    with pytest.raises(InputError, match="3 and 9 rows are too few to tell domains apart"):
        domain_separability(np.zeros((3, 2)), np.zeros((9, 2)))
    with pytest.raises(ValueError, match="strength is -1"):
        DANN(strength=-1)
    with pytest.raises(ValueError, match="epochs 0"):
        DANN(epochs=0)


def test_the_weight_of_the_reversed_gradient_follows_the_schedule_to_the_end(monkeypatch):
    strengths, loss = [], DomainAdversarial.compute_domain_loss

    def spy(net, hidden, target, strength):
        strengths.append(strength)
        return loss(net, hidden, target, strength)

    monkeypatch.setattr(DomainAdversarial, "compute_domain_loss", spy)
    DANN(strength=0.7, epochs=1.0).fit(shifted(150)[0])
    assert len(strengths) == 200
    np.testing.assert_allclose(
        strengths, [0.7 * schedule_strength((i + 1) / 200) for i in range(200)]
    )


def test_separability_minds_what_features_share_and_not_where_they_lie():
    rng = np.random.default_rng(0)
    mix = np.linalg.cholesky([[1, 0.95], [0.95, 1]])
    a, b = rng.standard_normal((2, 1000, 2)) @ mix.T + [5, 0]
    assert domain_separability(a, b + np.array([0, 2])) > 0.98  # one feature alone: 0.84
