"""Waves against loops, mutual teaching against its formula, and two networks on small digits."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from helpers.small_training import make_step
from ilk.architectures import waveblock_net as waves
from ilk.architectures.waveblock_net import CBAM, WaveBlockNet, apply_wave
from ilk.core.data import Data
from ilk.core.errors import InputError, NoLabels
from ilk.core.linear_models import normalize_rows
from ilk.methods import waveblock
from ilk.methods.waveblock import NetworkPair, WaveBlock, _assign_pseudo_labels
from ilk.training.objectives.mutual_teaching import MutualTeaching, PeerNetworks
from ilk.training.trainer import Batch

SHORT = WaveBlock(rounds=1)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def images(n=240, bare=80):
    """Digits on 16 x 16 pixels; the last `bare` have no label."""
    bunch = load_digits(n_class=4)
    rows = np.random.default_rng(0).permutation(len(bunch.target))[:n]
    x = np.kron(bunch.images[rows] / 16, np.ones((1, 2, 2))).astype(np.float32)[:, None]
    y = bunch.target[rows].copy()
    labels = np.where(np.arange(n) >= n - bare, -1, y)
    return Data(x, labels, tuple("0123")), y


@pytest.fixture(scope="module")
def fitted():
    data, y = images()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(waveblock, "MIN_STEPS", 30)
        return SHORT.fit(data), data, y


@pytest.mark.parametrize(("height", "ratio"), [(14, 0.3), (7, 0.3), (7, 0.0), (7, 1.0)])
def test_a_wave_scales_all_rows_but_a_stripe_that_may_lie_anywhere(height, ratio):
    x, starts = torch.full((3, 4, height, 5), -2.0), set()
    for seed in range(80):
        out = apply_wave(x, ratio, 1.5, generator(seed)) / x
        rows = out[0, 0, :, 0]
        assert torch.equal(out, rows[None, None, :, None].expand_as(out))
        stripe = [i for i, r in enumerate(rows) if abs(float(r) - 1) < 1e-5]
        assert len(stripe) == round(ratio * height)
        assert stripe == list(range(stripe[0], stripe[0] + len(stripe))) if stripe else True
        assert all(abs(float(rows[i]) - 1.5) < 1e-5 for i in range(height) if i not in stripe)
        starts |= set(stripe[:1])
    stripe = round(ratio * height)
    assert starts == (set(range(height - stripe + 1)) if stripe else set())


def test_waves_are_there_only_while_it_learns():
    torch.manual_seed(0)
    net, x = WaveBlockNet(1, 3), torch.randn(6, 1, 16, 16)
    assert torch.equal(net(x), net(x))
    assert not torch.equal(net(x), net(x, generator()))
    assert torch.equal(net(x, generator(1)), net(x, generator(1)))
    assert not torch.equal(net(x, generator(1)), net(x, generator(5)))
    net.factor = 1.0
    assert torch.equal(net(x), net(x, generator()))


def test_a_network_takes_up_the_larger_scale_of_its_maps():
    torch.manual_seed(0)
    net, x = WaveBlockNet(1, 3, attention=False), torch.randn(6, 1, 16, 16)
    net.ratio, net.factor = 0.0, 50.0  # all of each map, on its way into a convolution and a norm
    with torch.no_grad():
        for layer in net.layers:
            layer.bias.zero_()
    torch.testing.assert_close(net(x), net(x, generator()), rtol=1e-2, atol=1e-3)


NO_ROWS = Batch(torch.zeros(0), torch.zeros(0))


def pair(teacher_weight=0.3):
    torch.manual_seed(0)
    peers = PeerNetworks(lambda: WaveBlockNet(1, 3, factor=1.0))
    objective = MutualTeaching(teacher_weight, momentum=0.9)
    objective.setup(peers, NO_ROWS)
    with torch.no_grad():
        for mean in objective.teachers.parameters():
            mean.add_(0.1 * torch.randn(mean.shape, generator=generator(3)))
    return peers, objective


def compute_loss(objective, peers, batch, wave_generator=None):
    """The loss of one step, with what comes before it."""
    step = make_step(generator=wave_generator or generator())
    objective.before_step(peers, step)
    return objective(peers, batch, step)


def test_means_follow_the_networks():
    peers, objective = pair()
    before = [m.clone() for m in objective.teachers.parameters()]
    objective.before_step(peers, make_step())
    for now, was, net in zip(
        objective.teachers.parameters(), before, peers.networks.parameters(), strict=True
    ):
        torch.testing.assert_close(now, 0.9 * was + 0.1 * net.detach())
    assert not any(p.requires_grad for p in objective.teachers.parameters())
    one, two = (torch.nn.utils.parameters_to_vector(net.parameters()) for net in peers.networks)
    assert not torch.equal(one, two)


def test_each_learns_from_labels_and_from_the_mean_of_the_other():
    (peers, objective), x = pair(), torch.randn(5, 1, 16, 16)
    y = torch.tensor([0, 2, -1, 1, -1])
    loss = compute_loss(objective, peers, Batch(x, y))  # the means move first
    with torch.no_grad():
        z = [net(x).double().log_softmax(1) for net in peers.networks]
        m = [mean(x).double().softmax(1) for mean in objective.teachers]
    total = 0.0
    for i in range(2):
        total += 0.7 * np.mean([-float(z[i][r, y[r]]) for r in (0, 1, 3)])
        total += 0.3 * np.mean([-float((m[1 - i][r] * z[i][r]).sum()) for r in range(5)])
    assert loss.item() == pytest.approx(total, rel=1e-5)


def test_without_teaching_the_two_know_nothing_of_each_other():
    def slope(scale):
        peers, objective = pair(0.0)
        with torch.no_grad():
            for p in peers.networks[1].parameters():
                p.mul_(scale)
        batch = Batch(torch.ones(4, 1, 16, 16), torch.tensor([0, 1, 2, 0]))
        compute_loss(objective, peers, batch).backward()
        return peers.networks[0].output_layer.weight.grad

    assert torch.equal(slope(1.0), slope(2.0))


def test_it_names_rows_that_had_no_label(fitted):
    model, data, y = fitted
    bare = data.y < 0
    assert np.mean(model.logits(data.x).argmax(1)[bare] == y[bare]) > 0.9
    assert 0 <= model.measure_disagreement(data.x) < 0.3


def test_the_answer_is_the_mean_of_both(fitted):
    model, data, _ = fitted
    each = np.exp(model.predict_log_proba(data.x))
    np.testing.assert_allclose(each.sum(2), 1, atol=1e-6)
    np.testing.assert_allclose(np.exp(model.logits(data.x)), each.mean(0), atol=1e-9)
    one, two = each.argmax(2)
    assert model.measure_disagreement(data.x) == np.mean(one != two)
    assert model.extract_features(data.x).shape == (2, 240, 288)


def test_rows_are_scored_independently_and_the_model_is_arrays(fitted):
    model, data, _ = fitted
    alone = np.concatenate([model.logits(data.x[i : i + 1]) for i in range(10)])
    np.testing.assert_allclose(alone, model.logits(data.x)[:10], atol=1e-4)
    again = NetworkPair(**{f.name: getattr(model, f.name) for f in fields(model)})
    np.testing.assert_array_equal(again.logits(data.x), model.logits(data.x))
    assert model.logits(data.x[:0]).shape == (0, 4)


def test_the_same_seed_gives_the_same_model_and_an_unseen_class_no_answer(monkeypatch):
    monkeypatch.setattr(waveblock, "MIN_STEPS", 5)
    data, _ = images(60, 20)
    part = replace(data, y=np.where(data.y == 2, -1, data.y))
    original = data.x.copy()
    torch.manual_seed(1)
    first = SHORT.fit(part)
    torch.manual_seed(2)
    np.testing.assert_array_equal(first.parameters, SHORT.fit(part).parameters)
    np.testing.assert_array_equal(data.x, original)
    logits = first.logits(data.x)
    assert np.isneginf(logits[:, 2]).all()
    assert np.isfinite(np.delete(logits, 2, axis=1)).all()


def test_groups_get_the_name_of_the_source_class_that_they_grow_from():
    torch.manual_seed(0)
    peers = PeerNetworks(lambda: WaveBlockNet(1, 3))
    rng = np.random.default_rng(0)
    prints = rng.standard_normal((3, 1, 16, 16))
    y = rng.integers(0, 3, 90)
    x = (prints[y] + 0.3 * rng.standard_normal((90, 1, 16, 16))).astype(np.float32)
    labels = np.where(np.arange(90) < 30, y, -1)
    np.testing.assert_array_equal(_assign_pseudo_labels(peers, Data(x, labels, ("a", "b", "c"))), y)


def test_non_image_data_is_rejected():
    flat = Data(np.zeros((4, 256), np.float32), [0, 1, 0, 1], ("a", "b"))
    with pytest.raises(InputError, match=r"reads images \[n, channels, height, width\]"):
        WaveBlock().fit(flat)
    tiny = replace(flat, x=np.zeros((4, 1, 8, 8), np.float32))
    with pytest.raises(InputError, match="12 pixels or more"):
        WaveBlock().fit(tiny)
    with pytest.raises(NoLabels, match="WaveBlock learns from labels and there are none"):
        WaveBlock().fit(replace(flat, y=np.full(4, -1)))
    with pytest.raises(ValueError, match="ratio is 2"):
        WaveBlock(ratio=2)
    with pytest.raises(ValueError, match="factor is 0"):
        WaveBlock(factor=0)


def test_every_round_updates_the_model(monkeypatch):
    monkeypatch.setattr(waveblock, "MIN_STEPS", 30)
    data = images(60, 20)[0]
    none, one, two = (WaveBlock(rounds=r).fit(data).parameters for r in (0, 1, 2))
    assert not np.array_equal(none, one)
    assert not np.array_equal(one, two)


def test_groups_are_named_among_the_classes_that_have_a_label():
    torch.manual_seed(0)
    peers = PeerNetworks(lambda: WaveBlockNet(1, 4))
    rng = np.random.default_rng(0)
    prints, y = rng.standard_normal((4, 1, 16, 16)), rng.choice([1, 3], 60)
    x = (prints[y] + 0.3 * rng.standard_normal((60, 1, 16, 16))).astype(np.float32)
    labels = np.where(np.arange(60) < 30, y, -1)
    np.testing.assert_array_equal(_assign_pseudo_labels(peers, Data(x, labels, tuple("abcd"))), y)


def test_what_shifts_all_of_the_target_is_no_class():
    torch.manual_seed(0)
    peers = PeerNetworks(lambda: WaveBlockNet(1, 3))
    rng = np.random.default_rng(0)
    prints, y = rng.standard_normal((3, 1, 16, 16)), np.arange(90) % 3
    x = (0.5 * prints[y] + 0.3 * rng.standard_normal((90, 1, 16, 16))).astype(np.float32)
    x[30:] += 2 * rng.standard_normal((1, 16, 16)).astype(np.float32)
    labels = np.where(np.arange(90) < 30, y, -1)
    np.testing.assert_array_equal(_assign_pseudo_labels(peers, Data(x, labels, ("a", "b", "c"))), y)


def test_attention_is_added_and_weighs_channels_by_their_mean_and_their_peak():
    torch.manual_seed(0)
    net, x = CBAM(8), torch.randn(3, 8, 6, 6)
    with torch.no_grad():
        out = net(x)
        labels = net.channel(x.mean((2, 3))) + net.channel(x.amax((2, 3)))
        y = x * torch.sigmoid(labels)[:, :, None, None]
        where = torch.sigmoid(net.spatial(torch.stack([y.mean(1), y.max(1)[0]], 1)))
    torch.testing.assert_close(out, x + y * where)


def test_waves_come_after_the_first_and_the_second_layer_and_attention_before_them(monkeypatch):

    calls = []
    monkeypatch.setattr(waves, "apply_wave", lambda x, *_: calls.append(x) or x)
    torch.manual_seed(0)
    net, x = WaveBlockNet(1, 3), torch.randn(2, 1, 16, 16)
    with torch.no_grad():
        net(x, generator())
        first = net.attentions[0](torch.relu(net.norms[0](net.layers[0](x))))
        second = net.attentions[1](torch.relu(net.norms[1](net.layers[1](first))))
    assert len(calls) == 2
    for got, wanted in zip(calls, (first, second), strict=True):
        torch.testing.assert_close(got, wanted)


def test_both_networks_learn_under_waves_of_their_own_and_teachers_answer_without_and_move():
    torch.manual_seed(0)
    peers = PeerNetworks(lambda: WaveBlockNet(1, 3, factor=3.0))
    objective = MutualTeaching(0.3, momentum=0.9)
    objective.setup(peers, NO_ROWS)
    with torch.no_grad():
        for p in peers.networks.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=generator(3)))
    was = objective.teachers[0].output_layer.weight.clone()
    x, y = torch.randn(5, 1, 16, 16), torch.tensor([0, 2, 1, 1, 0])
    loss = compute_loss(objective, peers, Batch(x, y), generator(7))
    averaged = 0.9 * was + 0.1 * peers.networks[0].output_layer.weight
    torch.testing.assert_close(objective.teachers[0].output_layer.weight, averaged)
    total, wave_generator = 0.0, generator(7)
    for net, mean in zip(peers.networks, reversed(list(objective.teachers)), strict=True):
        z, taught = net(x, wave_generator), mean(x).softmax(1)
        total += 0.7 * torch.nn.functional.cross_entropy(z, y).item()
        total += 0.3 * torch.nn.functional.cross_entropy(z, taught).item()
    assert loss.item() == pytest.approx(total, rel=1e-5)


def test_predictions_do_not_depend_on_image_scale(monkeypatch):
    monkeypatch.setattr(waveblock, "MIN_STEPS", 5)
    data = images(60, 20)[0]
    loud = replace(data, x=8 * data.x)  # a power of two: not even rounding differs
    one, other = (WaveBlock(rounds=0).fit(d).logits(d.x) for d in (data, loud))
    np.testing.assert_array_equal(one, other)


def test_groups_are_those_of_their_own_directions_at_last():
    torch.manual_seed(0)
    peers = PeerNetworks(lambda: WaveBlockNet(1, 3))
    rng = np.random.default_rng(0)
    prints, y = rng.standard_normal((3, 1, 16, 16)), rng.integers(0, 3, 150)
    noise = 0.4 + y[:, None, None, None]  # loose classes have short means
    x = (0.7 * prints[y] + noise * rng.standard_normal((150, 1, 16, 16))).astype(np.float32)
    labels = np.where(np.arange(150) < 9, y, -1)
    labels[:3] = (0, 1, 2)
    group = _assign_pseudo_labels(peers, Data(x, labels, ("a", "b", "c")))[labels < 0]
    with torch.no_grad():
        features = torch.cat(
            [net.compute_features(torch.from_numpy(x)) for net in peers.networks], 1
        ).numpy()
    target = normalize_rows(features[labels < 0] - features[labels < 0].mean(0))
    centres = normalize_rows(np.stack([target[group == c].mean(0) for c in range(3)]))
    np.testing.assert_array_equal((target @ centres.T).argmax(1), group)


def test_a_target_of_one_class_is_not_unlearnt(monkeypatch):
    monkeypatch.setattr(waveblock, "MIN_STEPS", 60)
    data, y = images(200, 0)
    ones = np.flatnonzero(y == 1)[:25]
    labels = data.y.copy()
    labels[ones] = -1
    bare = replace(data, y=labels)
    right = [
        np.mean(WaveBlock(rounds=r).fit(bare).logits(data.x[ones]).argmax(1) == 1) for r in (0, 2)
    ]
    assert right[1] >= right[0] > 0.6


def test_a_batch_with_nothing_to_learn_from_has_a_gradient_of_zero():
    torch.manual_seed(0)
    peers = PeerNetworks(lambda: WaveBlockNet(1, 3))
    batch = Batch(torch.randn(4, 1, 16, 16), torch.full((4,), -1))
    objective = MutualTeaching(0.0)
    objective.setup(peers, batch)
    compute_loss(objective, peers, batch).backward()
    assert all(not p.grad.any() for p in peers.networks.parameters())
