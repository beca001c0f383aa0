"""Maps of where an image speaks for a class: they add up to the scores, and pictures show them."""

import numpy as np
import pytest
import torch

from ilk.core.errors import InputError
from ilk.diffusion.classification.difference_maps import compute_difference_maps, render
from ilk.diffusion.denoiser.karras import Denoiser
from ilk.diffusion.errors.class_errors import compute_class_errors, compute_scores
from ilk.diffusion.errors.denoising_errors import Measure
from ilk.diffusion.errors.levels import Levels
from ilk.diffusion.networks.unet import UNet

LEVELS = Levels((1.0, 0.4, 2.5), (1.5, 1.2, 0.3))


def tiny(channels: int = 2) -> Denoiser:
    torch.manual_seed(0)
    network = UNet(channels, 8, 4, width=8)
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.2 * torch.randn(p.shape))
    return Denoiser(network, (channels, 8, 8), tuple("abcd")).eval()


def images(n: int = 5) -> torch.Tensor:
    return torch.randn(n, 2, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("distance", ["l2", "l1", "huber"])
def test_the_mean_of_a_map_is_the_difference_of_the_scores(distance: str):
    model, x, measure = tiny(), images(), Measure(distance, batch_size=7)
    first, second = torch.tensor([0, 1, 2, 3, 0]), torch.tensor([1, 0, 3, 3, 2])
    found = compute_difference_maps(model, x, first, second, LEVELS, measure, seed=3)
    assert found.shape == (5, 8, 8)
    made = compute_class_errors(
        model, x, torch.tensor(LEVELS.sigmas), LEVELS.draw_noise(model, 3), measure
    )
    told = compute_scores(made, torch.tensor(LEVELS.weights)).double()
    rows = torch.arange(5)
    gap = told[rows, first] - told[rows, second]
    assert found.double().mean((1, 2)).tolist() == pytest.approx(gap.tolist(), abs=1e-6)
    assert gap[:3].abs().min() > 1e-4  # there was something to tell
    assert not found[3].any()  # a class against itself


def test_a_place_is_what_its_own_pixels_say():
    model, x = tiny(), images(1)
    found = compute_difference_maps(model, x, torch.tensor([2]), torch.tensor([1]), LEVELS)
    brute = torch.zeros(8, 8)
    for j, (sigma, weight) in enumerate(zip(LEVELS.sigmas, LEVELS.weights, strict=True)):
        noisy = x + sigma * LEVELS.draw_noise(model)[j]
        with torch.no_grad():
            for c, sign in ((1, 1), (2, -1)):
                made = model.denoise(noisy, torch.tensor([sigma]), torch.tensor([c]))
                brute += sign * weight / 3 * (made - x).square()[0].mean(0)
    assert torch.allclose(found[0], brute, atol=1e-6)


def test_a_map_hangs_on_its_image_alone_and_turns_with_the_classes():
    model, x = tiny(), images()
    first, second = torch.tensor([0, 1, 2, 3, 0]), torch.tensor([1, 0, 3, 2, 2])
    found = compute_difference_maps(model, x, first, second, LEVELS)
    alone = compute_difference_maps(model, x[2:3], first[2:3], second[2:3], LEVELS)
    assert torch.allclose(found[2:3], alone, atol=1e-6)
    back = compute_difference_maps(model, x, second, first, LEVELS)
    assert torch.allclose(back, -found, atol=1e-6)
    assert not torch.allclose(
        compute_difference_maps(model, x, first, second, LEVELS, seed=1), found
    )


def test_a_picture_shows_the_image_and_red_for_blue_against():
    x = torch.full((1, 8, 8), -1.0)
    x[0, 0] = 1
    found = torch.zeros(8, 8)
    found[2, 3], found[5, 6], found[6, 0] = 0.4, -0.8, -0.4
    shown = np.asarray(render(x, found)).astype(int)
    block = 160 // 8
    assert shown.shape == (160, 160 * 2 + block // 2 - 2, 3)
    left, right = shown[:, :160], shown[:, -160:]
    assert (left[:block] == 255).all()
    assert (left[block:] == 0).all()

    def at(row: int, column: int) -> np.ndarray:
        patch = right[row * block : (row + 1) * block, column * block : (column + 1) * block]
        assert (patch == patch[0, 0]).all()  # a place is a block, nothing is smoothed
        return patch[0, 0]

    red, blue, half = at(2, 3), at(5, 6), at(6, 0)
    assert red[0] > red[2]
    assert blue[2] > blue[0]
    assert half[2] - half[0] == pytest.approx((blue[2] - blue[0]) / 2, abs=2)  # one scale for both
    assert red[0] - red[2] == pytest.approx((214 - 40) / 2, abs=2)
    assert len(set(at(4, 4))) == 1
    assert at(0, 0)[0] > at(4, 4)[0]  # the image shows through


def test_a_common_scale_makes_maps_comparable_and_flat_ones_stay_grey():
    x, found = torch.zeros(3, 8, 8), torch.full((8, 8), 0.1)
    weak, strong = (np.asarray(render(x, found, scale)).astype(int) for scale in (1.0, 0.1))
    assert strong[0, -1, 0] - strong[0, -1, 2] > 5 * (weak[0, -1, 0] - weak[0, -1, 2]) > 0
    flat = np.asarray(render(x, torch.zeros(8, 8)))
    assert (flat[..., 0] == flat[..., 2]).all()


def test_a_map_of_latents_is_stretched_over_the_image():
    x, found = torch.zeros(3, 200, 100), torch.zeros(25, 13)
    found[0, 0] = 1.0
    shown = np.asarray(render(x, found)).astype(int)
    assert shown.shape[0] == 400
    right = shown[:, -200:]
    assert right[0, 0, 0] > right[0, 0, 2]
    assert right[15, 14, 0] > right[15, 14, 2]
    assert right[17, 17, 0] == right[17, 17, 2]


def test_bad_input_is_refused():
    model, x = tiny(), images(2)
    one = torch.tensor([0, 1])
    with pytest.raises(InputError, match="2 x 7 x 8 cannot be processed"):
        compute_difference_maps(model, x[:, :, 1:], one, one, LEVELS)
    with pytest.raises(InputError, match="one of the network's 4 classes"):
        compute_difference_maps(model, x, one, torch.tensor([0, 4]), LEVELS)
    with pytest.raises(InputError, match="for 2 images"):
        compute_difference_maps(model, x, one[:1], one, LEVELS)
    with pytest.raises(InputError, match="finite numbers"):
        render(x[0], torch.full((8, 8), float("nan")))
    with pytest.raises(InputError, match="finite numbers"):
        render(x, torch.zeros(8, 8))
