"""Features of a network without labels and of its controls: what is compared, and on which rows."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from benchmarks.diffusion_inside import features
from benchmarks.diffusion_inside.autoencoder import CODE, Autoencoder
from benchmarks.diffusion_setup import load_digit_images, make_digits_config, make_untrained
from ilk.diffusion.features.search import SearchConfig


def test_every_control_is_read_and_no_label_reaches_a_network(tmp_path, monkeypatch):
    monkeypatch.setenv("ILK_TRIALS", str(tmp_path))
    seen = []
    plain = features.load_pretrained
    monkeypatch.setattr(
        features,
        "load_pretrained",
        lambda dataset, *rest: seen.append(dataset) or plain(dataset, *rest),
    )
    monkeypatch.setattr(features, "SearchConfig", partial(SearchConfig, pools=(2,)))
    told = features.evaluate_features(
        load_digit_images(7), make_digits_config(7, 2), "tiny", (1,), (60, 80, 50), steps=2
    )
    assert seen[0].classes == ()
    assert (seen[0].train.y == -1).all()
    probe = told["accuracy"]["ridge probe"]
    assert set(probe) == {
        "pixels",
        "PCA of pixels",
        "diffusion, no labels",
        "random weights",
        "autoencoder",
    }
    assert probe["pixels"]["mean"] > 0.6
    fused = [name for name in told["accuracy"]["same bottleneck"] if "6 places" in name]
    assert len(fused) == 3
    alone = [name for name in told["accuracy"]["same bottleneck"] if "best place" in name]
    assert len(alone) == 3
    assert len(told["map"]["sigmas"]) == 8


def test_the_autoencoder_passes_everything_through_its_code():
    dataset = load_digit_images(7)
    network = Autoencoder(make_untrained(dataset, make_digits_config(7, 2)), 24, 1)
    x = torch.randn(3, 1, 8, 8)
    codes = []
    network.layers[2].register_forward_hook(lambda *call: codes.append(call[-1]))
    out = network.denoise(x, torch.ones(3), torch.zeros(3))
    assert out.shape == x.shape
    assert codes[0].shape == (3, CODE, 1, 1)
    network.layers[2].register_forward_hook(lambda *call: torch.zeros_like(call[-1]))
    blank = network(x)
    assert torch.allclose(blank[0], blank[1], atol=1e-6)


def test_ridge_standardises_by_training_rows_only():
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(200) % 4
    blurred = torch.nn.functional.one_hot(y, 4) + 0.4 * torch.randn(200, 4, generator=generator)
    rows = blurred.double().numpy()
    together = features.score_ridge(rows[:100], y[:100], rows[100:120], y[100:120])
    assert 0.7 < together < 1
    apart = [
        features.score_ridge(rows[:100], y[:100], rows[i : i + 1], y[i : i + 1])
        for i in range(100, 120)
    ]
    assert sum(apart) / 20 == pytest.approx(together)  # no row depends on the other test rows
