"""Adapters, prefixes and their mix against the formulas of the unified view, computed by hand."""

import numpy as np
import pytest
import torch

from helpers.tiny_networks import make_example
from ilk.architectures.tiny_vit import Attention, Perceptron, TinyViT, TinyViTConfig
from ilk.core.errors import InputError
from ilk.peft import get_state, load_state, parse_wrapper
from ilk.peft.low_rank import make_generator
from ilk.peft.prefix_attention import PrefixAttention


def to_numpy(module):
    return [p.detach().numpy() for p in module.parameters()]


def softmax(scores):
    e = np.exp(scores - scores.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@pytest.mark.parametrize("gate", [0.0, 1.0, 0.4])
def test_a_prefix_is_an_adapter_with_softmax_behind_a_gate(gate):
    """h' = (1 - lambda) h + lambda softmax(q Pk^T) Pv, in each head."""
    torch.manual_seed(0)
    attention, x = Attention(6, 2).double(), torch.randn(3, 4, 6, dtype=torch.float64)
    part = PrefixAttention(attention, 5, gate != 1.0, make_generator(1)).double()
    with torch.no_grad():
        part.gate.fill_(gate)
    w, b, w_out, b_out = to_numpy(attention)
    heads = np.zeros((3, 4, 6))
    for i, image in enumerate(x.numpy()):
        q, k, v = np.split(image @ w.T + b, 3, 1)
        for head, cut in enumerate((slice(0, 3), slice(3, 6))):
            scores = q[:, cut] @ k[:, cut].T / np.sqrt(3)
            prefix = q[:, cut] @ part.keys[head].detach().numpy().T / np.sqrt(3)
            masses = np.exp(prefix).sum(1), np.exp(scores).sum(1)
            share = (masses[0] / (masses[0] + masses[1]))[:, None]  # lambda
            h = softmax(scores) @ v[:, cut]
            change = share * (softmax(prefix) @ part.values[head].detach().numpy() - h)
            heads[i, :, cut] = h + gate * change
    expected = heads @ w_out.T + b_out
    np.testing.assert_allclose(part(x).detach().numpy(), expected, atol=1e-12)


def test_an_ungated_prefix_is_attention_to_more_tokens_and_does_not_start_at_the_pretrained():
    torch.manual_seed(0)
    attention, x = Attention(6, 2).double(), torch.randn(2, 4, 6, dtype=torch.float64)
    part = PrefixAttention(attention, 3, False, make_generator(1)).double()
    assert [n for n, _ in part.own_parameters()] == ["keys", "values"]
    w, b, w_out, b_out = to_numpy(attention)
    q, k, v = np.split(x.numpy() @ w.T + b, 3, 2)
    heads = []
    for head, cut in enumerate((slice(0, 3), slice(3, 6))):
        for_all = [
            np.broadcast_to(p[head].detach().numpy(), (2, 3, 3))
            for p in part.parameters()
            if p.ndim == 3
        ]
        keys = np.concatenate([for_all[0], k[..., cut]], 1)
        values = np.concatenate([for_all[1], v[..., cut]], 1)
        heads.append(softmax(q[..., cut] @ keys.transpose(0, 2, 1) / np.sqrt(3)) @ values)
    expected = np.concatenate(heads, 2) @ w_out.T + b_out
    np.testing.assert_allclose(part(x).detach().numpy(), expected, atol=1e-12)
    wrapper = parse_wrapper("Prefix(gated=False)")
    assert not wrapper.starts_exactly
    network, images = make_example("tiny ViT")
    before = network(images)
    assert not torch.allclose(wrapper.apply(network)(images), before, atol=1e-3)


def test_a_prefix_whose_keys_nothing_attends_to_changes_nothing():
    """The limiting case: lambda is 0, whatever the gate."""
    torch.manual_seed(0)
    attention, x = Attention(6, 2), torch.randn(2, 4, 6)
    with torch.no_grad():
        attention.qkv.weight[:6].zero_()
        attention.qkv.bias[:6].fill_(1.0)
    part = PrefixAttention(attention, 3, False, make_generator(1))
    with torch.no_grad():
        part.keys.fill_(-100.0)
    torch.testing.assert_close(part(x), attention(x))


def test_masks_are_refused():
    part = PrefixAttention(Attention(4, 2), 3, True, make_generator(0))
    with pytest.raises(InputError, match="without a mask"):
        part(torch.randn(1, 3, 4), torch.zeros(3, 3))


@pytest.mark.parametrize("text", ["Adapter(rank=3)", "ParallelAdapter(rank=3, scale=1.5)"])
def test_adapters_add_rectified_units_behind_or_beside(text):
    torch.manual_seed(0)
    holder = torch.nn.Sequential(Perceptron(5, 7))
    x = torch.randn(4, 5)
    h = holder(x).detach().numpy()
    wrapper = parse_wrapper(text)
    wrapper.apply(holder)
    state = {k: torch.randn_like(v) for k, v in get_state(holder).items()}
    load_state(holder, state)
    down, up = (state[f"0.wrapper.{n}.weight"].numpy() for n in ("down", "up"))
    source, scale = (h, 1.0) if text.startswith("Adapter") else (x.numpy(), 1.5)
    expected = h + scale * np.maximum(source @ down.T, 0) @ up.T
    np.testing.assert_allclose(holder(x).detach().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_the_mix_has_prefixes_at_attention_and_adapters_at_perceptrons():
    network = TinyViT(TinyViTConfig(width=32), 3)
    parse_wrapper("MAM(length=3, rank=5)").apply(network)
    sizes = {key: tuple(value.shape) for key, value in get_state(network).items()}
    assert len(sizes) == 4 * 5
    assert sizes["blocks.2.attn.keys"] == sizes["blocks.2.attn.values"] == (4, 3, 8)
    assert sizes["blocks.2.attn.gate"] == (4, 1, 1)
    assert sizes["blocks.2.mlp.wrapper.down.weight"] == (5, 32)
    assert sizes["blocks.2.mlp.wrapper.up.weight"] == (32, 5)
    total = sum(np.prod(shape) for shape in sizes.values())
    assert total == 4 * (2 * 3 * 32 + 4) + 4 * 5 * (32 + 32)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("Adapter(rank=6)", 4 * 6 * 64),
        ("ParallelAdapter(rank=6, layers='attention')", 4 * 6 * 64),
        ("Adapter(rank=6, layers='all')", 2 * 4 * 6 * 64),
        ("Prefix(length=6)", 4 * (2 * 6 * 32 + 4)),
        ("Prefix(length=6, gated=False)", 4 * 2 * 6 * 32),
    ],
)
def test_parameters_are_as_many_as_documented(text, count):
    network, _ = make_example("tiny ViT")
    parse_wrapper(text).apply(network)
    assert sum(v.numel() for v in get_state(network).values()) == count


def test_in_a_convolutional_network_adapters_sit_at_convolutions_that_do_not_widen():
    for text in ("Adapter(rank=2)", "ParallelAdapter(rank=2)"):
        network, _ = make_example("EfficientNet-Lite0")
        parse_wrapper(text).apply(network)
        assert len(get_state(network)) == 2 * 16
        assert all("project_conv" in key for key in get_state(network))
