"""alpha-TIM: its gradient against torch, its entropies against scipy, and special cases."""

import numpy as np
import pytest
import torch
from scipy.stats import entropy as shannon

from helpers.few_shot_task import task
from ilk.methods.alpha_tim import AlphaTIM, compute_loss, tsallis_entropy
from ilk.methods.nearest_mean import NearestClassMean
from ilk.transduction.gaussian_em import UnitRows


def in_torch(sphere, t, w, orders):
    """The same loss, as the paper writes it, for autograd."""
    w = torch.tensor(w, requires_grad=True)

    def p(rows):
        return torch.softmax(-0.5 * t * torch.cdist(torch.tensor(rows), w) ** 2, 1)

    def tsallis(q, a):
        return (1 - (q**a).sum(-1)) / (a - 1)

    label_probs = p(sphere.labelled)[torch.arange(len(sphere.y)), torch.tensor(np.array(sphere.y))]
    free = p(sphere.unlabelled)
    loss = -torch.log(label_probs).mean() - tsallis(free.mean(0), orders[0])
    loss = loss + tsallis(free, orders[1]).mean()
    loss.backward()
    return loss.item(), w.grad.numpy()


@pytest.mark.parametrize("orders", [(7.0, 5.0), (0.5, 2.0), (2.0, 1.3)])
def test_the_gradient_matches_autograd(orders):
    data, _ = task()
    sphere = UnitRows.from_data(data, None)
    w = sphere.means + 0.1 * np.random.default_rng(0).standard_normal(sphere.means.shape)
    value, slope = compute_loss(sphere, 6.0, w, orders)
    want, torchs = in_torch(sphere, 6.0, w, orders)
    assert value == pytest.approx(want)
    np.testing.assert_allclose(slope, torchs, rtol=1e-6, atol=1e-9)


def test_entropies_are_known_ones():
    p = np.random.default_rng(0).dirichlet(np.ones(4), 9)
    np.testing.assert_allclose(tsallis_entropy(p, 1.0)[0], shannon(p, axis=1), rtol=1e-3)
    np.testing.assert_allclose(tsallis_entropy(p, 2.0)[0], 1 - (p**2).sum(1))
    for order in (1.0, 2.0, 7.0):
        step = 1e-6 * np.eye(4)[1]
        numeric = (tsallis_entropy(p + step, order)[0] - tsallis_entropy(p - step, order)[0]) / 2e-6
        np.testing.assert_allclose(
            tsallis_entropy(p, order)[1][:, 1], numeric, rtol=1e-4, atol=1e-8
        )


@pytest.mark.parametrize("d", [6, 200])
def test_moving_the_prototypes_lowers_the_loss(d):
    data, _ = task(d=d, apart=1.6 if d == 6 else 0.5)
    sphere = UnitRows.from_data(data, None)
    t = sphere.fit_inverse_temperature()
    model = AlphaTIM(guard=False).fit(data)
    moved = compute_loss(sphere, t, model.weight.astype(float) / t, (7.0, 5.0))[0]
    assert moved < compute_loss(sphere, t, sphere.means, (7.0, 5.0))[0] - 0.005
    half = -0.5 * np.sum(model.weight.astype(float) ** 2, axis=1) / t
    np.testing.assert_allclose(model.bias, half, rtol=1e-4)


def test_without_unlabelled_rows_it_is_the_nearest_class_mean():
    data, _ = task()
    known = data.take_labelled()
    got, want = (m.fit(known).logits(data.x) for m in (AlphaTIM(), NearestClassMean()))
    got, want = got - got[:, :1], want - want[:, :1]
    np.testing.assert_allclose(got / got[0, 1], want / want[0, 1], rtol=1e-3, atol=1e-4)


def test_accuracy_improves_on_queries_of_few_classes():
    gain = []
    for seed in range(10):
        data, truth = task(seed)
        x = data.take_unlabelled().x
        alone, moved = (
            np.mean(AlphaTIM(guard=False).fit(d).logits(x).argmax(1) == truth)
            for d in (data.take_labelled(), data)
        )
        gain.append(moved - alone)
    assert np.mean(gain) > 0.015


@pytest.mark.parametrize("fields", [{"marginal": 0.0}, {"conditional": -1.0}, {"max_iter": 0}])
def test_out_of_range_hyperparameters_raise(fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        AlphaTIM(**fields)
