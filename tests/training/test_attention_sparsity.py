"""The penalty of the last block's attention, computed by hand, and what it prefers."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from helpers.small_training import make_step
from ilk.architectures.tiny_vit import TinyViT, TinyViTConfig
from ilk.training.batch import Batch
from ilk.training.objectives.attention_sparsity import AttentionSparsity, compute_attention
from ilk.training.objectives.lasso import Lasso

CONFIG = TinyViTConfig(size=8, patch=4, width=8, depth=2, heads=2)


def make_batch(weight=None):
    x = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return Batch(x, torch.tensor([0, 1, 2, 0, -1]), None, weight)


def make_network():
    network = TinyViT(CONFIG, 3, 1)
    with torch.no_grad():
        network.blocks[-1].attn.qkv.weight.mul_(20)
    return network


def test_attention_is_that_which_mixes_the_values():
    network = make_network()
    attention, tokens = network.blocks[-1].attn, torch.randn(5, 4, 8)
    a = compute_attention(attention, tokens)
    assert a.shape == (5, 2, 4, 4)
    assert torch.allclose(a.sum(-1), torch.ones(5, 2, 4))
    v = attention.qkv(tokens)[..., 16:].reshape(5, 4, 2, 4).transpose(1, 2)
    mixed = attention.proj((a @ v).transpose(1, 2).reshape(5, 4, 8))
    assert torch.allclose(mixed, attention(tokens), atol=1e-5)


def test_the_loss_by_hand():
    network, batch = make_network(), make_batch()
    loss = AttentionSparsity(0.7)(network, batch, make_step())
    tokens = network.embed_patches(batch.x)
    last = network.blocks[-1]
    a = compute_attention(last.attn, last.norm1(network.blocks[0](tokens)))
    penalty = sum(torch.log1p(a[i] ** 2).mean() for i in range(5)) / 5
    supervised = functional.cross_entropy(network(batch.x)[:4], batch.y[:4])
    assert loss.item() == pytest.approx((supervised + 0.7 * penalty).item(), rel=1e-5)
    assert AttentionSparsity(0)(network, batch, make_step()).item() == pytest.approx(
        supervised.item(), rel=1e-5
    )
    assert not network.blocks[-1].attn._forward_pre_hooks  # none is left behind


def test_uniform_attention_costs_least():
    uniform, peaked = torch.full((4,), 0.25), torch.tensor([1.0, 0, 0, 0])
    middle = torch.tensor([0.4, 0.3, 0.2, 0.1])
    cost = [torch.log1p(a**2).mean() for a in (uniform, middle, peaked)]
    assert cost == sorted(cost)


def test_lasso_is_the_sum_of_what_pruning_may_remove():
    network = make_network()
    total = sum(
        p.abs().sum()
        for name, p in network.named_parameters()
        if name.endswith("weight") and "norm" not in name
    )
    assert Lasso()(network, make_batch(), make_step()).item() == pytest.approx(total.item())
