"""Class activation maps, the mask of non-critical places, and what a refinement may change."""

import numpy as np
import pytest
import torch

from helpers.small_training import make_step
from ilk.architectures.class_activation_net import ClassActivationNet
from ilk.core.errors import InputError
from ilk.subset_selection.condensation.nrr_dd import NRRDD, crop_critical, tile
from ilk.subset_selection.foundations.non_critical_refinement import (
    NonCriticalRefinement,
    compute_mask,
)
from ilk.subset_selection.foundations.pixel_scale import PixelScale
from ilk.subset_selection.foundations.problem import Problem, Run
from ilk.subset_selection.foundations.synthetic_images import SyntheticImages

K = 3


def make_net(seed=1):
    net = ClassActivationNet(1, K, width=4, seed=seed)
    with torch.no_grad():
        for norm in net.norms:
            norm.running_mean.uniform_(-0.1, 0.1, generator=torch.Generator().manual_seed(seed))
            norm.running_var.uniform_(0.5, 2.0, generator=torch.Generator().manual_seed(seed))
    return net.eval()


def make_images(n=2 * K, side=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (n, 1, side, side), generator=generator, dtype=torch.uint8)
    return SyntheticImages(pixels, PixelScale.fit(pixels), K)


@torch.no_grad()
def test_the_map_of_a_class_has_its_logit_as_mean():
    net, images = make_net(), make_images()
    places, _ = net.forward_maps(images.x)
    logits = net(images.x)
    for c in range(K):
        maps = sum(net.linear.weight[c, f] * places[:, f] for f in range(4))
        mean = maps.mean((1, 2)) + net.linear.bias[c]
        torch.testing.assert_close(mean, logits[:, c])


@torch.no_grad()
def test_the_map_by_hand():
    net = make_net()
    x = torch.zeros(1, 1, 2, 2)
    features = torch.tensor([[[[1.0, 0.0], [0.0, 3.0]], [[0.0, 2.0], [0.0, 0.0]]]])
    features = torch.cat([features, torch.zeros(1, 2, 2, 2)], 1)
    net.forward_maps = lambda _x: (features, [])
    net.linear.weight[1] = torch.tensor([2.0, -1.0, 5.0, 5.0])
    # 2 f_0 - f_1: 2, -2, 0, 6; from its least to its greatest place
    expected = torch.tensor([[[[0.5, 0.0], [0.25, 1.0]]]])
    torch.testing.assert_close(net.compute_activation(x, torch.tensor([1])), expected)


def test_the_mask_by_hand():
    activation = torch.tensor([[[[0.0, 0.2, 0.5, 1.0]]]])
    expected = torch.tensor([[[[0.5, 0.3, 0.0, 0.0]]]])
    torch.testing.assert_close(compute_mask(activation, 0.5), expected)
    everywhere = compute_mask(activation, 0.5, is_masked=False)
    assert (everywhere == 0.5).all()


def test_one_step_by_hand_and_critical_places_stay():
    net, images = make_net(), make_images()
    objective = NonCriticalRefinement(net, 0.5, 0.0)
    objective.setup(images, None)
    objective.train()
    assert not any(norm.training for norm in objective.teacher.norms)
    loss = objective(images, None, make_step())
    loss.backward()
    x = images.x.detach().clone().requires_grad_()
    torch.nn.functional.cross_entropy(net(x), images.y, reduction="sum").backward()
    critical = net.compute_activation(images.x, images.y) >= 0.5
    torch.testing.assert_close(images.x.grad, objective.mask * x.grad)
    assert critical.any()
    assert (images.x.grad[critical] == 0).all()
    assert (images.x.grad[~critical] != 0).any()
    assert all(p.grad is None for p in net.parameters())


@torch.no_grad()
def test_statistics_of_the_training_cost_nothing():
    net, images = make_net(), make_images(30)
    assert net.compute_statistics_loss(images.x) > 0.1
    for i, norm in enumerate(net.norms):  # each in turn, since the next reads what it gives
        values = net.forward_maps(images.x)[1][i]
        norm.running_mean.copy_(values.mean((0, 2, 3)))
        norm.running_var.copy_(values.var((0, 2, 3), correction=0))
    assert net.compute_statistics_loss(images.x) < 1e-6


def test_a_crop_holds_what_the_map_marks():
    image = torch.zeros(1, 1, 20, 20)
    image[0, 0, 12:16, 2:6] = 1.0
    activation = torch.zeros(1, 1, 20, 20)
    activation[0, 0, 12:16, 2:6] = 1.0
    crop = crop_critical(image, activation, 0.6)
    assert crop.shape == image.shape
    # a part of 12 x 12 pixels enlarged to 20 x 20: the square of 16 places covers 16 * (20/12)^2
    assert crop.sum().item() == pytest.approx(16 * (20 / 12) ** 2, rel=0.05)
    torch.testing.assert_close(crop_critical(image, activation, 1.0), image)
    flat = torch.zeros_like(activation)
    torch.testing.assert_close(crop_critical(image, flat, 0.6), image)


def test_four_crops_share_an_image():
    x = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 1, 8, 8)
    shown = tile(x, 4)[0, 0]
    quarters = [shown[:4, :4], shown[:4, 4:], shown[4:, :4], shown[4:, 4:]]
    assert [float(q.mean()) for q in quarters] == [0, 1, 2, 3]


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    y = np.arange(90) % K
    pixels = rng.integers(0, 60, (90, 1, 8, 8))
    for c in range(K):
        pixels[y == c, :, 2 * c : 2 * c + 3, 2:6] += 180
    x = torch.from_numpy(pixels.astype(np.uint8))
    features = (x.flatten(1).numpy() / 255).astype(np.float32)
    return Problem(x, torch.from_numpy(y), K, 2, features, width=4)


@pytest.mark.parametrize("tiles", [1, 4])
def test_images_are_made_for_each_class(problem, tiles):
    method = NRRDD(tiles=tiles, updates=2, training_updates=5)
    few = method.condense(problem, Run())
    assert few.x.shape == (2 * K, 1, 8, 8)
    assert few.x.dtype == torch.uint8
    assert few.y.tolist() == [0, 0, 1, 1, 2, 2]
    assert problem.y[few.rows].tolist() == few.y.tolist()


def test_the_least_certain_crops_are_taken(problem):
    class Certain(ClassActivationNet):
        def forward(self, x):
            brightness = x.mean((1, 2, 3))
            return torch.stack([brightness, *(0 * brightness for _ in range(K - 1))], 1)

        def compute_activation(self, x, y):
            return torch.zeros(len(x), 1, *x.shape[-2:])

    net = Certain(1, K, width=4)
    method = NRRDD(candidates=100, refine="none")
    few = method.refine_crops(problem, Run(), net)
    brightness = problem.x[problem.list_rows(0)].float().mean((1, 2, 3)).sort().values
    found = few.x[few.y == 0].float().mean((1, 2, 3)).sort().values
    torch.testing.assert_close(found, brightness[:2], atol=0.5, rtol=0)
    few = NRRDD(candidates=100, refine="none", sure=True).refine_crops(problem, Run(), net)
    found = few.x[few.y == 0].float().mean((1, 2, 3)).sort().values
    torch.testing.assert_close(found, brightness[-2:], atol=0.5, rtol=0)


def test_settings_that_are_none():
    with pytest.raises(InputError, match="tiles are 1 or 4"):
        NRRDD(tiles=3)
    with pytest.raises(InputError, match="refine is non-critical, all or none"):
        NRRDD(refine="some")
