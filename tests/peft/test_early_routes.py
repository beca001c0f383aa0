"""SHERL and the sum of blocks: their formulas by hand, and that early blocks keep no activation."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.peft.arms import measure_saved_bytes
from benchmarks.tiny_vit import Images
from helpers.tiny_networks import make_example
from ilk.architectures.tiny_vit import TinyViT, TinyViTConfig
from ilk.core.errors import InputError
from ilk.peft import get_state, load_state, parse_wrapper

WIDTH, HIDDEN = 8, 4


def normalize(x, weight, bias):
    centred = x - x.mean()
    return weight * centred / math.sqrt((centred**2).mean() + 1e-5) + bias


def make_network():
    return TinyViT(TinyViTConfig(width=WIDTH, heads=2, depth=5), 3, seed=2)


def randomize(network):
    generator = torch.Generator().manual_seed(3)
    state = {
        k: torch.randn(v.shape, generator=generator) * 0.5 for k, v in get_state(network).items()
    }
    load_state(network, state)
    return {k.removeprefix("blocks.0."): v.numpy().astype(float) for k, v in state.items()}


@pytest.mark.parametrize("anti_redundancy", [True, False])
def test_sherl_combines_tokens_as_its_formula_says(anti_redundancy):
    network, plain = make_network(), make_network()
    x = torch.randn(2, 1, 28, 28)
    parse_wrapper(f"SHERL(anti_redundancy={anti_redundancy})").apply(network)
    p = randomize(network)
    outputs, z = [], plain.embed_patches(x)
    for block in plain.blocks[:4]:
        z = block(z)
        outputs.append(z.detach().numpy().astype(float))
    expected = np.zeros((2, 16, WIDTH))
    for i in range(2):
        for token in range(16):
            parts = []
            for layer in range(4):
                prefix = f"projections.{layer}"
                f = p[f"{prefix}.0.weight"] @ outputs[layer][i, token] + p[f"{prefix}.0.bias"]
                parts.append(normalize(f, p[f"{prefix}.1.weight"], p[f"{prefix}.1.bias"]))
            *shallow, u = parts
            weights = []
            for v in shallow:
                redundancy = sum(
                    max(0.0, v @ m / np.linalg.norm(v) / np.linalg.norm(m)) for m in shallow
                )
                score = max(0.0, p["score.weight"][0] @ (v * u) + p["score.bias"][0])
                weights.append(score / (redundancy if anti_redundancy else 1.0))
            total = max(sum(weights), 1e-12)
            mixed = u + sum(a / total * v for a, v in zip(weights, shallow, strict=True))
            out = p["output.weight"] @ np.maximum(mixed, 0) + p["output.bias"]
            out = normalize(out, p["norm.weight"], p["norm.bias"])
            gate = math.tanh(p["gate"][0] / 0.1)
            expected[i, token] = out + gate * outputs[3][i, token]
    combined = network.blocks[0](network.embed_patches(x)).detach().numpy()
    np.testing.assert_allclose(combined, expected, rtol=1e-3, atol=1e-4)
    late = plain.blocks[4](torch.tensor(expected, dtype=torch.float32))
    answer = plain.head(plain.norm(late).mean(1))
    torch.testing.assert_close(network(x), answer, rtol=1e-3, atol=1e-4)


def test_twins_among_shallow_blocks_share_what_one_would_get():
    """The limiting case: R counts a block and its copy twice, so that both weigh half."""
    network = make_network()
    parse_wrapper("SHERL").apply(network)
    route = network.blocks[0]
    tokens = [torch.randn(2, 16, WIDTH) for _ in range(2)]
    with torch.no_grad():
        route.score.bias.fill_(5.0)
        route.score.weight.zero_()
        for copied in (1, 2):
            route.projections[copied].load_state_dict(route.projections[0].state_dict())
    twins = route.combine([tokens[0], tokens[0], tokens[0], tokens[1]])
    v, u = route.projections[0](tokens[0]), route.projections[3](tokens[1])
    torch.testing.assert_close(twins, route.norm(route.output((u + v).relu())))


def test_redundancy_cancels_between_two_shallow_blocks():
    """R_1 = R_2 = 1 + ReLU(cos), and the weights are divided by their sum."""
    tokens = [torch.randn(2, 16, WIDTH) for _ in range(3)]
    combined = []
    for text in ("SHERL", "SHERL(anti_redundancy=False)"):
        network = TinyViT(TinyViTConfig(width=WIDTH, heads=2, depth=4), 3, seed=2)
        parse_wrapper(text).apply(network)
        combined.append(network.blocks[0].combine(tokens))
    torch.testing.assert_close(*combined)


def test_a_sum_of_blocks_is_their_mean_by_softmax():
    network, plain = make_network(), make_network()
    x = torch.randn(2, 1, 28, 28)
    parse_wrapper("LayerSum").apply(network)
    assert {k: v.numel() for k, v in get_state(network).items()} == {
        "blocks.0.weights": 4,
        "blocks.0.gamma": 1,
    }
    state = {
        "blocks.0.weights": torch.tensor([0.1, -1.0, 0.5, 2.0]),
        "blocks.0.gamma": torch.tensor(1.5),
    }
    load_state(network, state)
    shares = np.exp([0.1, -1.0, 0.5, 2.0])
    z, total = plain.embed_patches(x), 0.0
    for block, share in zip(plain.blocks[:4], shares / shares.sum(), strict=True):
        z = block(z)
        total = total + 1.5 * share * z
    expected = plain.head(plain.norm(plain.blocks[4](total.float())).mean(1))
    torch.testing.assert_close(network(x), expected, rtol=1e-4, atol=1e-5)


def test_early_blocks_keep_nothing_for_the_backward_pass():
    """Saved memory does not grow with frozen blocks, as it does with LoRA."""
    images = Images(torch.randn(8, 1, 28, 28), torch.zeros(8, dtype=torch.int64))

    def measure(text, depth):
        network = TinyViT(TinyViTConfig(depth=depth), 3)
        parse_wrapper(text).apply(network)
        return measure_saved_bytes(network, images)

    tokens = 8 * 16 * 64 * 4  # bytes of the output of a block, which both read
    assert measure("LayerSum", 7) - measure("LayerSum", 4) < 3 * 2 * tokens
    assert measure("SHERL", 7) - measure("SHERL", 4) < 3 * 4 * tokens
    assert measure("LoRA", 7) - measure("LoRA", 4) > 3 * 10 * tokens


def test_maps_of_other_sizes_are_averaged_to_the_last_one():
    network, x = make_example("EfficientNet-Lite0")
    before = network(x)
    wrapper = parse_wrapper("SHERL(late=2)")
    wrapper.apply(network)
    assert len(network.blocks) == 3
    assert network(x).shape == before.shape
    wrapper.remove(network)
    assert torch.equal(network(x), before)


def test_too_few_blocks_are_refused_in_one_sentence():
    with pytest.raises(InputError, match="late is 4, and blocks has 5 blocks; at least 1"):
        parse_wrapper("SHERL(late=4)").apply(make_network())
    network = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    with pytest.raises(InputError, match="SHERL needs a chain of blocks"):
        parse_wrapper("SHERL").apply(network)
