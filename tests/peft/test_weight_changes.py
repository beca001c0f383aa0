"""LoRA, SVFit, IA3 and BitFit: changes of weights, against NumPy and against their limits."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from helpers.tiny_networks import make_example
from ilk.architectures.efficientnet_lite import SamePadConv
from ilk.architectures.tiny_vit import TinyViT, TinyViTConfig
from ilk.core.errors import InputError
from ilk.peft import get_state, load_state, parse_wrapper


def randomize(network, seed=3):
    generator = torch.Generator().manual_seed(seed)
    state = {k: torch.randn(v.shape, generator=generator) for k, v in get_state(network).items()}
    load_state(network, state)
    return {k: v.numpy().astype(np.float64) for k, v in state.items()}


def test_lora_adds_its_product_to_the_weight_of_a_linear_layer():
    torch.manual_seed(0)
    network, x = nn.Sequential(nn.Linear(6, 5)), torch.randn(4, 6)
    parse_wrapper("LoRA(rank=2, alpha=3)").apply(network)
    state = randomize(network)
    product = state["0.wrapper.up.weight"] @ state["0.wrapper.down.weight"]
    weight = network[0].weight.detach().numpy() + 1.5 * product
    expected = x.numpy() @ weight.T + network[0].bias.detach().numpy()
    np.testing.assert_allclose(network(x).detach().numpy(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(3, 5, 3, 2, 1),
        nn.Conv2d(3, 5, 1),
        nn.Conv2d(3, 5, (3, 2), 1, (0, 1), 2, padding_mode="reflect"),
        SamePadConv(3, 5, 5, 2),
    ],
)
def test_merged_convolutions_are_plain_ones_of_a_weight_changed_by_low_rank(layer):
    network = nn.Sequential(nn.Conv2d(1, 3, 1), copy.deepcopy(layer))
    x = torch.randn(2, 1, 9, 11)
    wrapper = parse_wrapper("LoRA(rank=2)")
    wrapper.apply(network)
    randomize(network)
    expected = network(x)
    wrapper.merge(network)
    torch.testing.assert_close(network(x), expected, rtol=1e-4, atol=1e-4)
    change = (network[1].weight - layer.weight).detach().flatten(1).numpy()
    assert np.linalg.matrix_rank(change, tol=1e-4) == 2


def test_rank_above_that_of_the_layer_is_cut_and_the_same_seed_gives_the_same_start():
    networks = [nn.Sequential(nn.Linear(6, 3)) for _ in range(2)]
    for network in networks:
        parse_wrapper("LoRA(rank=20, seed=4)").apply(network)
    one, other = (get_state(network) for network in networks)
    assert one["0.wrapper.down.weight"].shape == (3, 6)
    assert torch.equal(one["0.wrapper.down.weight"], other["0.wrapper.down.weight"])


@pytest.mark.parametrize("bases", ["top", "bottom"])
def test_svfit_rescales_singular_values_as_numpy_decomposes_them(bases):
    torch.manual_seed(0)
    network, x = nn.Sequential(nn.Linear(7, 5)), torch.randn(4, 7)
    weight = network[0].weight.detach().numpy().astype(np.float64)
    parse_wrapper(f"SVFit(rank=2, bases={bases!r})").apply(network)
    delta = randomize(network)["0.wrapper.delta"]
    u, s, vt = np.linalg.svd(weight, full_matrices=False)
    s[slice(0, 2) if bases == "top" else slice(3, 5)] *= 1 + delta
    expected = x.numpy() @ (u * s @ vt).T + network[0].bias.detach().numpy()
    np.testing.assert_allclose(network(x).detach().numpy(), expected, rtol=1e-4, atol=1e-5)
    parse_wrapper("SVFit").merge(network)
    np.testing.assert_allclose(network[0].weight.detach().numpy(), u * s @ vt, atol=1e-5)


def test_svfit_of_all_values_with_delta_minus_one_is_no_weight_at_all():
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Conv2d(2, 4, 3, bias=False))
    parse_wrapper("SVFit(rank=99)").apply(network)
    assert get_state(network)["1.wrapper.delta"].shape == (4,)
    load_state(network, {"1.wrapper.delta": -torch.ones(4)})
    out = network(torch.randn(2, 1, 6, 6))
    torch.testing.assert_close(out, torch.zeros_like(out), rtol=0, atol=1e-5)


def test_random_bases_are_orthonormal_and_have_the_top_values():
    network = nn.Sequential(nn.Linear(7, 5))
    s = np.linalg.svd(network[0].weight.detach().numpy(), compute_uv=False)
    parse_wrapper("SVFit(rank=3, bases='random')").apply(network)
    part = network[0].wrapper
    u, v = part.up.weight.detach(), part.down.weight.detach()
    torch.testing.assert_close(u.T @ u, torch.eye(3), rtol=0, atol=1e-5)
    torch.testing.assert_close(v @ v.T, torch.eye(3), rtol=0, atol=1e-5)
    np.testing.assert_allclose(part.values.numpy(), s[:3], rtol=1e-5)
    assert get_state(network).keys() == {"0.wrapper.delta"}


def test_svfit_has_a_quarter_of_the_values_unless_told_otherwise():
    network = TinyViT(TinyViTConfig(), 3)
    parse_wrapper("SVFit").apply(network)
    assert sum(v.numel() for v in get_state(network).values()) == 16 * 16


def test_ia3_rescales_keys_values_and_hidden_units():
    """Second derivation: queries and the rest stay, in a block written out by hand."""
    network = TinyViT(TinyViTConfig(width=8, heads=1, depth=1), 3, seed=1)
    x = torch.randn(2, 1, 28, 28)
    parse_wrapper("IA3").apply(network)
    vectors = {k: torch.tensor(1 + v) for k, v in randomize(network).items()}
    assert {k: len(v) for k, v in vectors.items()} == {
        "blocks.0.attn.qkv.wrapper.vector": 16,
        "blocks.0.mlp.fc2.wrapper.vector": 16,
    }
    plain = TinyViT(TinyViTConfig(width=8, heads=1, depth=1), 3, seed=1)
    plain, x = plain.double(), x.double()
    block, z = plain.blocks[0], plain.embed_patches(x)
    q, k, v = block.attn.qkv(block.norm1(z)).chunk(3, 2)
    scale = vectors["blocks.0.attn.qkv.wrapper.vector"]
    k, v = k * scale[:8], v * scale[8:]
    z = z + block.attn.proj((q @ k.mT / 8**0.5).softmax(2) @ v)
    hidden = functional.gelu(block.mlp.fc1(block.norm2(z)))
    z = z + block.mlp.fc2(hidden * vectors["blocks.0.mlp.fc2.wrapper.vector"])
    expected = plain.head(plain.norm(z).mean(1))
    torch.testing.assert_close(network(x.float()).double(), expected, rtol=1e-4, atol=1e-5)


def test_ia3_at_all_outputs_has_a_number_for_each():
    network = TinyViT(TinyViTConfig(), 3)
    parse_wrapper("IA3(positions='outputs')").apply(network)
    assert sum(v.numel() for v in get_state(network).values()) == 4 * (192 + 64 + 128 + 64)


@pytest.mark.parametrize("name", ["tiny ViT", "timm EfficientNet"])
def test_bitfit_trains_exactly_the_biases(name):
    """The gradient of each offset is that of the bias, and all biases but the head's have one."""
    network, x = make_example(name)
    plain, _ = make_example(name)
    plain(x).square().sum().backward()
    biases = {
        n: p.grad
        for n, p in plain.named_parameters()
        if n.endswith("bias") and not n.startswith("head")
    }
    parse_wrapper("BitFit").apply(network)
    network(x).square().sum().backward()
    offsets = {
        n.replace("wrapper.offset", "bias"): p.grad
        for n, p in network.named_parameters()
        if n.endswith("wrapper.offset")
    }
    assert offsets.keys() == biases.keys()
    for key, gradient in biases.items():
        torch.testing.assert_close(offsets[key], gradient, rtol=1e-4, atol=1e-5)


def test_layers_may_be_those_of_attention_or_of_perceptrons():
    for choice, expected in {"attention": {"qkv", "proj"}, "mlp": {"fc1", "fc2"}}.items():
        network, _ = make_example("timm ViT")
        parse_wrapper(f"LoRA(layers={choice!r})").apply(network)
        assert {key.split(".")[3] for key in get_state(network)} == expected
    network, _ = make_example("EfficientNet-Lite0")
    with pytest.raises(InputError, match="LoRA needs linear layers or convolutions"):
        parse_wrapper("LoRA(layers='attention')").apply(network)
