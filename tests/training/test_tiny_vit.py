"""The tiny vision transformer, and how benchmarks pretrain it."""

import numpy as np
import pytest
import torch

from benchmarks import tiny_vit
from ilk.architectures.tiny_vit import Attention, TinyViT, TinyViTConfig


def test_attention_is_a_weighted_mean_of_values_computed_by_hand():
    torch.manual_seed(0)
    attention, x = Attention(6, 2).double(), torch.randn(2, 5, 6, dtype=torch.float64)
    weight, bias = (p.detach().numpy() for p in attention.qkv.parameters())
    expected = np.zeros((2, 5, 6))
    for n in range(2):
        q, k, v = np.split(x[n].numpy() @ weight.T + bias, 3, axis=1)
        for part in (slice(0, 3), slice(3, 6)):
            e = np.exp(q[:, part] @ k[:, part].T / np.sqrt(3))
            expected[n, :, part] = (e / e.sum(1, keepdims=True)) @ v[:, part]
    out = expected @ attention.proj.weight.detach().numpy().T + attention.proj.bias.detach().numpy()
    np.testing.assert_allclose(attention(x).detach().numpy(), out, atol=1e-12)


def test_without_positions_the_order_of_patches_does_not_matter():
    network, x = TinyViT(TinyViTConfig(size=14), 3, seed=1), torch.randn(2, 1, 14, 14)
    swapped = torch.cat([x[..., 7:], x[..., :7]], 3)
    assert not torch.allclose(network(x), network(swapped), atol=1e-4)
    with torch.no_grad():
        network.position.zero_()
    torch.testing.assert_close(network(x), network(swapped), rtol=1e-4, atol=1e-5)


def test_a_shape_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="patch 5 must divide"):
        TinyViTConfig(size=28, patch=5)


def test_a_pretrained_network_is_cached_and_tells_its_classes_apart(tmp_path, monkeypatch):
    monkeypatch.setenv("ILK_TRIALS", str(tmp_path))
    rng = np.random.default_rng(0)
    y = torch.arange(300) % 5
    x = torch.tensor(rng.normal(size=(300, 1, 28, 28)), dtype=torch.float32)
    x += 2 * torch.tensor(rng.normal(size=(5, 1, 28, 28)), dtype=torch.float32)[y]
    images = tiny_vit.Images(x, y)
    monkeypatch.setattr(tiny_vit, "read_images", lambda _dataset: images)
    network = tiny_vit.pretrain("mnist", (1, 3), 0, steps=40)
    assert tiny_vit.measure_accuracy(network, images.keep_classes((1, 3))) > 0.95
    monkeypatch.setattr(tiny_vit, "train", None)
    again = tiny_vit.pretrain("mnist", (1, 3), 0, steps=40)
    assert torch.equal(network(x), again(x))


def test_classes_are_renumbered_and_drawn_without_overlap():
    images = tiny_vit.Images(torch.arange(12.0).reshape(12, 1, 1, 1), torch.arange(12) % 4)
    kept = images.keep_classes((3, 1))
    assert kept.x.flatten().tolist() == [1, 3, 5, 7, 9, 11]
    assert kept.y.tolist() == [1, 0, 1, 0, 1, 0]
    few, rest = images.draw(2, np.random.default_rng(0))
    assert torch.bincount(few.y).tolist() == [2, 2, 2, 2]
    assert sorted(torch.cat([few.x, rest.x]).flatten().tolist()) == list(range(12))
