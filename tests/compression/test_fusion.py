"""Fusion by optimal transport: a copy with its units in another order comes back."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from ilk.architectures.tiny_vit import TinyViT, TinyViTConfig
from ilk.compression.fusion import FusionSettings, align, average, compute_distances, fuse
from ilk.compression.transport import match, transport
from ilk.core.errors import InputError

CONFIG = TinyViTConfig(size=8, patch=4, width=12, depth=2, heads=3)


def make_network(seed=0, config=CONFIG):
    """A network whose normalizations and biases have random values too."""
    network = TinyViT(config, 4, seed).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=generator))
    return network


def make_images(n=40):
    return torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(5))


def shuffle(network, seed=1):
    """The same function: tokens, hidden units, heads and units within heads in another order."""
    rng = np.random.default_rng(seed)
    config, copied = network.config, copy.deepcopy(network)
    stream = torch.from_numpy(rng.permutation(config.width))
    size = config.width // config.heads
    with torch.no_grad():
        copied.patch_embed.weight.copy_(network.patch_embed.weight[stream])
        copied.patch_embed.bias.copy_(network.patch_embed.bias[stream])
        copied.position.copy_(network.position[..., stream])
        copied.head.weight.copy_(network.head.weight[:, stream])
        norms = [(network.norm, copied.norm)]
        for old, new in zip(network.blocks, copied.blocks, strict=True):
            norms += [(old.norm1, new.norm1), (old.norm2, new.norm2)]
            heads = rng.permutation(config.heads)
            inner = [[rng.permutation(size) for _ in heads] for _ in range(2)]
            qk, v = (
                torch.from_numpy(np.concatenate([h * size + o[i] for i, h in enumerate(heads)]))
                for o in inner
            )
            hidden = torch.from_numpy(rng.permutation(old.mlp.fc1.out_features))
            rows = torch.cat([qk, qk + config.width, v + 2 * config.width])
            for a, b, out, into in (
                (old.attn.qkv, new.attn.qkv, rows, stream),
                (old.attn.proj, new.attn.proj, stream, v),
                (old.mlp.fc1, new.mlp.fc1, hidden, stream),
                (old.mlp.fc2, new.mlp.fc2, stream, hidden),
            ):
                b.weight.copy_(a.weight[out][:, into])
                b.bias.copy_(a.bias[out])
        for a, b in norms:
            b.weight.copy_(a.weight[stream])
            b.bias.copy_(a.bias[stream])
    return copied


@pytest.mark.parametrize("residual", ["mean", "shared"])
def test_a_shuffled_copy_comes_back(residual):
    network, images = make_network(), make_images()
    copied = shuffle(network)
    assert torch.allclose(copied(images), network(images), atol=1e-5)
    assert not torch.allclose(copied.head.weight, network.head.weight, atol=0.1)
    fused = fuse(copied, network, images, FusionSettings(0, residual))
    for name, value in fused.state_dict().items():
        assert torch.allclose(value, network.state_dict()[name], atol=1e-5), name
    plain = average([copied, network])
    assert not torch.allclose(plain(images), network(images), atol=0.1)


def test_little_entropy_comes_near_the_exact_plans():
    network, images = make_network(), make_images()
    fused = fuse(shuffle(network), network, images, FusionSettings(0.002, "shared"))
    assert torch.allclose(fused(images), network(images), atol=1e-3)


def test_exact_plans_with_one_map_keep_the_function_of_another_network():
    images = make_images()
    # with several heads, units may go to other heads, whose scores are then other sums
    one_head = TinyViTConfig(size=8, patch=4, width=12, depth=2, heads=1)
    first, second = make_network(0, one_head), make_network(7, one_head)
    moved = align(first, second, images, FusionSettings(0, "shared"))
    assert torch.allclose(moved(images), first(images), atol=1e-4)
    assert not torch.allclose(moved.head.weight, first.head.weight, atol=0.1)


def test_the_average_of_a_network_with_itself_is_that_network():
    network, images = make_network(), make_images()
    fused = fuse(network, network, images, FusionSettings(0))
    assert torch.allclose(fused(images), network(images), atol=1e-5)


def test_plans_have_the_right_margins_and_the_exact_one_costs_least():
    rng = np.random.default_rng(0)
    cost = rng.random((7, 7))
    exact, smooth, sharp = match(cost), transport(cost, 0.1), transport(cost, 0.01)
    for plan in (exact, smooth, sharp):
        np.testing.assert_allclose(plan.sum(0), 1 / 7, atol=1e-4)
        np.testing.assert_allclose(plan.sum(1), 1 / 7, atol=1e-4)
    least = (exact * cost).sum()
    assert least <= (sharp * cost).sum() <= (smooth * cost).sum()
    assert (sharp * cost).sum() == pytest.approx(least, abs=0.01)
    # any other permutation costs more
    assert all(cost[np.arange(7), rng.permutation(7)].mean() >= least - 1e-12 for _ in range(200))
    wide = transport(rng.random((3, 5)), 0.2)
    np.testing.assert_allclose(wide.sum(1), 1 / 3, atol=1e-8)
    np.testing.assert_allclose(wide.sum(0), 1 / 5, atol=1e-8)


def test_a_plan_is_the_stationary_point_of_cost_minus_entropy():
    """The smoothed plan is exp((f_i + g_j - c_ij) / r), so log plan + cost / r is a sum f + g."""
    cost = np.random.default_rng(1).random((6, 6))
    residual = np.log(transport(cost, 0.3)) + cost / 0.3
    centred = residual - residual.mean(0) - residual.mean(1)[:, None] + residual.mean()
    assert np.abs(centred).max() < 1e-9


def test_distances_ignore_scale_and_shift():
    x = np.random.default_rng(2).normal(size=(50, 4))
    distance = compute_distances(x, 3 * x[:, ::-1] + 2)
    assert np.abs(np.diag(distance[:, ::-1])).max() < 1e-6
    assert distance.max() == 1


def test_what_cannot_be_fused_is_said():
    small = TinyViT(TinyViTConfig(size=8, patch=4, width=6, heads=3), 4)
    with pytest.raises(InputError, match="different shapes"):
        fuse(small, make_network(), make_images())
    with pytest.raises(InputError, match="at least 0"):
        FusionSettings(-1)
    with pytest.raises(InputError, match="one of mean, shared"):
        FusionSettings(residual="matrix")
    with pytest.raises(InputError, match="above 0"):
        transport(np.zeros((2, 2)), 0)
    with pytest.raises(InputError, match="as many rows as columns"):
        match(np.zeros((2, 3)))
