"""Several masks at once are the mean of one mask at a time, and drop what they say they drop."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch.nn import functional

from helpers.small_training import make_step
from ilk.artifacts.pack import pack, unpack
from ilk.core.data import Data
from ilk.core.linear_models import MLP
from ilk.methods.multi_sample_dropout import MultiSampleDropout
from ilk.training.heads import Head, cross_entropy, make_batch


def seeded_step(seed=0):
    return make_step(generator=torch.Generator().manual_seed(seed))


def digits(n=400):
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    data = Data((x[order] / 16).astype(np.float32), y[order], tuple("0123456789"))
    return data.take(np.arange(n)), data.take(np.arange(n, 1797))


def test_the_loss_is_the_mean_over_masks_of_the_loss_under_each():
    train, _ = digits(40)
    net = Head.from_data(train, 16)
    part = make_batch(net, train)
    method = MultiSampleDropout(n_masks=5, dropout=0.3)
    got = method.make_objective()(net, part, seeded_step(1)).item()
    keep_masks = torch.rand((5, 40, 16), generator=torch.Generator().manual_seed(1)) >= 0.3
    losses = [
        functional.cross_entropy(
            net.output_layer(net.compute_hidden(part.x) * mask / 0.7), part.y
        ).item()
        for mask in keep_masks
    ]
    np.testing.assert_allclose(got, np.mean(losses), rtol=1e-6)
    assert len({round(loss, 4) for loss in losses}) == 5  # the masks differ


def test_nothing_dropped_is_plain_cross_entropy():
    train, _ = digits(60)
    net = Head.from_data(train, 16)
    part = make_batch(net, train)
    got = (
        MultiSampleDropout(n_masks=3, dropout=0.0).make_objective()(net, part, seeded_step()).item()
    )
    np.testing.assert_allclose(got, cross_entropy(net, part, torch.Generator()).item(), rtol=1e-6)


@pytest.mark.parametrize("rate", [0.2, 0.7])
def test_masks_leave_the_mean_of_the_logits_as_it_is(rate):
    """Over many masks the logits average to those without any: what is kept is scaled up."""
    train, _ = digits(3)
    net = Head.from_data(train, 16)
    part = make_batch(net, train)
    outputs = []
    logits = net.compute_logits
    net.compute_logits = lambda hidden: outputs.append(logits(hidden)) or outputs[-1]
    MultiSampleDropout(n_masks=20_000, dropout=rate).make_objective()(net, part, seeded_step())
    mean = outputs[0].detach().unflatten(0, (20_000, 3)).mean(0)
    wanted = logits(net.compute_hidden(part.x)).detach()
    np.testing.assert_allclose(mean.numpy(), wanted.numpy(), atol=0.03)


def test_more_masks_make_the_gradient_steadier_and_do_not_move_it():
    train, _ = digits(50)
    net = Head.from_data(train, 32)
    part = make_batch(net, train)

    def gradients(samples, draws):
        grads = []
        for seed in range(draws):
            net.zero_grad()
            objective = MultiSampleDropout(samples).make_objective()
            objective(net, part, seeded_step(seed)).backward()
            grads.append(net.output_layer.weight.grad.flatten().numpy().copy())
        return np.array(grads)

    one, eight = gradients(1, 120), gradients(8, 120)
    ratio = one.var(0).sum() / eight.var(0).sum()
    assert 6 < ratio < 10.5  # eight masks: an eighth of the variance
    off = np.linalg.norm(one.mean(0) - eight.mean(0))
    assert off < 3 * np.sqrt(one.var(0).sum() / 120)


def test_it_learns_and_answers_without_dropping():
    train, test = digits()
    model = MultiSampleDropout(n_masks=4, hidden=64).fit(train)
    assert isinstance(model, MLP)
    logits = model.logits(test.x)
    assert np.mean(logits.argmax(1) == test.y) > 0.9
    np.testing.assert_array_equal(logits, model.logits(test.x))


def test_a_deeper_head_drops_its_last_hidden_layer_alone():
    train, _ = digits(40)
    method = MultiSampleDropout(n_masks=3, dropout=0.4, hidden=16, depth=3)
    net = method.make_network(train)
    part = make_batch(net, train)
    got = method.make_objective()(net, part, seeded_step(1)).item()
    hidden = part.x
    for layer in (net.hidden_layer, *net.trunk):
        hidden = functional.relu(hidden @ layer.weight.T + layer.bias)
    masks = torch.rand((3, 40, 16), generator=torch.Generator().manual_seed(1)) >= 0.4
    losses = [
        functional.cross_entropy(net.output_layer(hidden * mask / 0.6), part.y).item()
        for mask in masks
    ]
    np.testing.assert_allclose(got, np.mean(losses), rtol=1e-6)
    logits = net.to_model().logits(train.x)
    np.testing.assert_allclose(logits, net(part.x).detach().numpy(), rtol=1e-4, atol=1e-5)


def test_a_deeper_model_learns_can_be_saved_and_is_blind_to_a_class_without_rows():
    train, test = digits()
    model = MultiSampleDropout(n_masks=4, hidden=64, depth=2).fit(train)
    logits = model.logits(test.x)
    assert np.mean(logits.argmax(1) == test.y) > 0.9
    saved = unpack(*pack({"model": model}))["model"]
    np.testing.assert_array_equal(saved.logits(test.x), logits)
    wider = Data(train.x, train.y, (*train.classes, "none"))
    again = MultiSampleDropout(n_masks=4, hidden=64, depth=2).fit(wider).logits(test.x)
    np.testing.assert_allclose(again[:, :10], logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"n_masks": 0}, "0 masks"),
        ({"depth": 0}, "depth is 0"),
        ({"hidden": 0}, "0 units"),
        ({"dropout": 1.0}, "dropout is 1.0"),
    ],
)
def test_invalid_settings_are_rejected(given, words):
    with pytest.raises(ValueError, match=words):
        MultiSampleDropout(**given)
