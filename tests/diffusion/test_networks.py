"""The networks and what stands around them: shapes, preconditioning, noise levels, tweaks."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from ilk.core.errors import InputError
from ilk.diffusion.denoiser.karras import Denoiser
from ilk.diffusion.denoiser.noise_levels import LogNormal, make_log_grid
from ilk.diffusion.networks.dit import DiT
from ilk.diffusion.networks.unet import UNet
from ilk.diffusion.pretraining.objective import (
    DenoisingLoss,
    Shift,
    compute_pixel_std,
    flip,
    normalize_batch,
)
from ilk.training.trainer import Batch

SMALL = {
    "unet 8": lambda: UNet(1, 8, 3, width=8),
    "unet 16": lambda: UNet(2, 16, 3, width=8, levels=(1, 2, 2)),
    "unet 28": lambda: UNet(1, 28, 3, width=8, patch=2, blocks=2),
    "unet 32": lambda: UNet(3, 32, 3, width=8, levels=(1, 1, 2, 2)),
    "dit 8": lambda: DiT(1, 8, 3, width=16, depth=2, patch=2),
    "dit 28": lambda: DiT(3, 28, 3, width=16, depth=1),
}


def woken(network: nn.Module) -> nn.Module:
    """With weights that are zero at first drawn at random, so that everything has a say."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for p in network.parameters():
            if not p.any():
                p.copy_(torch.randn(p.shape, generator=generator) * 0.1)
    return network.eval()


def inputs(name: str, n: int = 4) -> Tensor:
    network = SMALL[name]()
    size = int(name.split()[1])
    shape = network.proj_in.weight.shape[1] // network.patch**2
    return torch.randn(n, shape, size, size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", SMALL)
def test_a_network_starts_at_zero_and_keeps_the_shape(name: str):
    x = inputs(name)
    out = SMALL[name]()(x, torch.zeros(4), torch.tensor([0, 1, 2, 3]))
    assert out.shape == x.shape
    assert not out.any()


@pytest.mark.parametrize("name", SMALL)
def test_image_noise_and_class_all_count_and_rows_do_not_mix(name: str):
    network, x = woken(SMALL[name]()), inputs(name)
    noise, classes = torch.tensor([0.0, 1.0, -2.0, 0.0]), torch.tensor([0, 1, 2, 3])
    with torch.no_grad():
        out = network(x, noise, classes)
        alone = network(x[2:3], noise[2:3], classes[2:3])
        louder = network(x, noise + 0.5, classes)
        other = network(x, noise, (classes + 1) % 4)
    assert torch.allclose(out[2:3], alone, atol=1e-5)
    assert (out - louder).flatten(1).abs().amax(1).min() > 1e-4
    assert (out - other).flatten(1).abs().amax(1).min() > 1e-4


def test_every_place_of_a_dit_and_a_unet_can_hear_every_other():
    for name in ("unet 8", "dit 8"):
        network, x = woken(SMALL[name]()), inputs(name, 1)
        moved = x.clone()
        moved[..., 0, 0] += 1
        with torch.no_grad():
            told = torch.zeros(1), torch.zeros(1, dtype=torch.int64)
            assert (network(x, *told) != network(moved, *told)).all()


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: UNet(1, 28, 3, levels=(1, 1, 1, 1)), "multiple of 8, such as 32"),
        (lambda: UNet(1, 9, 3), "9 pixels"),
        (lambda: UNet(1, 8, 3, width=12), "multiple of 8"),
        (lambda: DiT(1, 30, 3), "multiple of 4"),
        (lambda: DiT(1, 8, 3, width=30, heads=4), "4 heads"),
    ],
)
def test_what_does_not_come_out_even_is_refused(make, why: str):
    with pytest.raises(InputError, match=why):
        make()


class Recorder(nn.Module):
    """Returns a given field, and remembers what it was shown."""

    def __init__(self, out: float = 0.0) -> None:
        super().__init__()
        self.out = out

    def forward(self, x: Tensor, noise: Tensor, classes: Tensor) -> Tensor:
        self.seen = x, noise, classes
        return torch.full_like(x, self.out)


def test_preconditioning_shows_and_asks_for_numbers_of_size_one():
    spread, n = 0.4, 4000
    generator = torch.Generator().manual_seed(0)
    x = spread * torch.randn(n, 1, 4, 4, generator=generator)
    for sigma in (0.01, 0.4, 5.0):
        recorder = Recorder()
        denoiser = Denoiser(recorder, (1, 4, 4), ("a",), spread)
        level = torch.full((n,), sigma)
        noisy = x + sigma * torch.randn(x.shape, generator=generator)
        base = denoiser.denoise(noisy, level, torch.zeros(n, dtype=torch.int64))
        assert recorder.seen[0].std().item() == pytest.approx(1, rel=0.02)
        asked = (x - base) * denoiser.compute_loss_weight(level).sqrt().view(-1, 1, 1, 1)
        assert asked.std().item() == pytest.approx(1, rel=0.02)  # what the network must give
        # for Gaussian data the way round the network is already the best denoiser there is
        assert ((x - base) * noisy).mean().item() == pytest.approx(0, abs=0.01)
        assert torch.allclose(recorder.seen[1], level.log())
        recorder.out = 1.0  # a step of one in the network is a step of 1 / sqrt(weight) outside
        moved = denoiser.denoise(noisy, level, torch.zeros(n, dtype=torch.int64)) - base
        assert torch.allclose(
            moved[:, 0, 0, 0], denoiser.compute_loss_weight(level).rsqrt(), atol=1e-5
        )


def test_a_denoiser_turns_an_unknown_class_into_its_own_index_for_none():
    denoiser = Denoiser(Recorder(), (1, 4, 4), ("a", "b"))
    assert denoiser.condition(torch.tensor([1, -1, 0])).tolist() == [1, 2, 0]
    for wrong in (2, -2):
        with pytest.raises(InputError, match="knows 2 classes"):
            denoiser.condition(torch.tensor([0, wrong]))
    with pytest.raises(
        InputError, match="1 x 8 x 8 cannot be processed: the network takes 1 x 4 x 4"
    ):
        denoiser.denoise(torch.zeros(1, 1, 8, 8), torch.ones(1), torch.zeros(1))
    with pytest.raises(InputError, match="same value"):
        Denoiser(Recorder(), (1, 4, 4), (), sigma_data=0.0)


def test_noise_levels_follow_their_law_and_cover_it_evenly():
    law = LogNormal(0.3, 0.9)
    drawn = law.draw(500, torch.Generator().manual_seed(0)).log().numpy()
    shares = np.sort(stats.norm(0.3, 0.9).cdf(drawn))
    assert (np.floor(shares[1:-1] * 500) == np.arange(1, 499)).mean() > 0.99
    assert not (np.diff(drawn) > 0).all()
    low, high = law.sigmas
    assert low <= np.exp(drawn.min())
    assert np.exp(drawn.max()) <= high
    for mean, std in ((math.nan, 1.0), (0.0, 0.0)):
        with pytest.raises(InputError):
            LogNormal(mean, std)


def test_a_grid_is_even_in_ln_sigma():
    levels = make_log_grid((0.1, 10.0), 4).log().double()
    assert torch.allclose(levels.diff(), torch.full((3,), math.log(100) / 4).double())
    assert levels.mean().item() == pytest.approx(0, abs=1e-6)
    with pytest.raises(InputError):
        make_log_grid((1.0, 1.0), 3)


def batch(n: int = 64) -> Batch:
    generator = torch.Generator().manual_seed(4)
    x = torch.randint(0, 256, (n, 1, 4, 4), generator=generator, dtype=torch.uint8)
    return Batch(x, torch.arange(n) % 3 - 1)


def test_the_loss_of_a_perfect_denoiser_is_nothing_and_of_none_the_variance():
    gen = torch.Generator().manual_seed
    given = normalize_batch(batch(), gen(0))
    denoiser = Denoiser(Recorder(), (1, 4, 4), ("a", "b"))
    objective = DenoisingLoss(denoiser, LogNormal())

    class Perfect(nn.Module):
        def forward(self, noisy: Tensor, sigma: Tensor, told: Tensor) -> Tensor:
            self.told = told
            return given.x

    perfect = Perfect()
    assert objective(perfect, given, gen(0)) == 0
    assert set(perfect.told.tolist()) == {0, 1, 2}
    hides = DenoisingLoss(denoiser, LogNormal(), label_dropout=1.0)
    hides(perfect, given, gen(0))
    assert set(perfect.told.tolist()) == {2}  # every label is hidden
    keeps = DenoisingLoss(denoiser, LogNormal(), label_dropout=0.0)
    keeps(perfect, given, gen(0))
    assert torch.equal(perfect.told, torch.where(given.y < 0, 2, given.y))
    spread = float(given.x.std())
    matched = Denoiser(Recorder(), (1, 4, 4), ("a", "b"), spread)
    loss = DenoisingLoss(matched, LogNormal(2.0, 0.1))(matched, given, gen(0))
    assert float(loss) == pytest.approx(1, rel=0.1)  # white data, nothing learned


def test_flips_mirror_half_and_shifts_move_what_they_say():
    gen = torch.Generator().manual_seed
    given = batch(400)
    flipped = flip(given, gen(0)).x
    turned = (flipped == given.x.flip(3)).flatten(1).all(1)
    still = (flipped == given.x).flatten(1).all(1)
    assert (turned ^ still).all()
    assert 150 < int(turned.sum()) < 250
    moved = Shift(1)(given, gen(0)).x
    padded = nn.functional.pad(given.x.float(), (1, 1, 1, 1), mode="replicate")
    found = torch.zeros(400, dtype=torch.int64)
    for down in range(3):
        for right in range(3):
            same = moved == padded[:, :, down : down + 4, right : right + 4]
            found += same.flatten(1).all(1)
    assert (found == 1).all()
    extremes = Batch(torch.tensor([0, 255], dtype=torch.uint8), given.y)
    assert normalize_batch(extremes, gen(0)).x.tolist() == [-1, 1]


def test_the_spread_is_the_standard_deviation_of_the_pixels():
    given = batch()
    expected = (given.x.double() / 127.5 - 1).std(correction=0)
    assert compute_pixel_std([given.x]) == pytest.approx(float(expected))
    with pytest.raises(InputError, match="same value"):
        compute_pixel_std([torch.full((2, 1, 4, 4), 7, dtype=torch.uint8)])
