"""Gradients of real and synthetic images are compared as the papers say."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from helpers.small_training import make_step
from ilk.architectures.instance_norm_net import InstanceNormNet
from ilk.subset_selection.condensation.dcc import DCC
from ilk.subset_selection.foundations.gradient_matching import (
    GradientMatching,
    compute_gradient_distance,
)
from ilk.subset_selection.foundations.pixel_scale import PixelScale
from ilk.subset_selection.foundations.siamese_augmentation import SiameseAugmentation
from ilk.subset_selection.foundations.synthetic_images import SyntheticImages
from ilk.training.batch import Batch

STILL = SiameseAugmentation(scale=0.0, degrees=0.0, shift=0.0)
K = 3


def make_pixels(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 1, 8, 8), generator=generator, dtype=torch.uint8)


def make_objective(is_class_wise, **more):
    student = InstanceNormNet(1, (8, 8), K, width=4, depth=2, seed=1)
    settings = {"inner": 4, "network_updates": 2, "seed": 0} | more
    return GradientMatching(student, is_class_wise, augmentation=STILL, **settings)


def compute_loss(is_class_wise, images, batch):
    objective = make_objective(lambda _loop, _place: is_class_wise)
    step = make_step()
    objective.before_step(images, step)
    return objective, objective(images, batch, step)


def test_the_distance_by_hand():
    first = [torch.tensor([[1.0, 0.0], [3.0, 4.0]]), torch.tensor([5.0, 5.0])]
    second = [torch.tensor([[0.0, 2.0], [6.0, 8.0]]), torch.tensor([-5.0, 5.0])]
    # a right angle counts 1, the same direction 0, and a bias does not count
    assert compute_gradient_distance(first, second).item() == pytest.approx(1.0)
    turned = [torch.tensor([[1.0, 1.0], [-3.0, -4.0]]), second[1]]
    expected = (1 - 1 / math.sqrt(2)) + 2
    assert compute_gradient_distance(first, turned).item() == pytest.approx(expected)


def test_filters_of_a_convolution_are_rows():
    weight = torch.arange(12.0).view(2, 1, 2, 3)
    flat = weight.view(2, 6)
    other = weight + 1
    assert torch.allclose(
        compute_gradient_distance([weight], [other]),
        compute_gradient_distance([flat], [other.view(2, 6)]),
    )


def compute_gradients(objective, x, y):
    """The gradient of the mean cross-entropy, by the network itself."""
    student = objective.student
    weights = [p.detach().clone().requires_grad_() for p in student.parameters()]
    named = dict(zip(dict(student.named_parameters()), weights, strict=True))
    logits = torch.func.functional_call(student, named, (x,))
    loss = torch.nn.functional.cross_entropy(logits, y)
    return torch.autograd.grad(loss, weights)


@pytest.fixture
def problem():
    start, real = make_pixels(2 * K, 1), make_pixels(5 * K, 2)
    scale = PixelScale.fit(real)
    return SyntheticImages(start, scale, K), Batch(real, torch.arange(5 * K) % K)


def test_both_losses_by_hand(problem):
    images, batch = problem
    for is_class_wise in (False, True):
        objective, loss = compute_loss(is_class_wise, images, batch)
        x = images.scale.standardize(batch.x)
        of_real = [
            compute_gradients(objective, x[batch.y == c], batch.y[batch.y == c]) for c in range(K)
        ]
        of_made = [
            compute_gradients(objective, images.x.detach()[images.y == c], images.y[images.y == c])
            for c in range(K)
        ]
        if is_class_wise:
            expected = sum(
                compute_gradient_distance(a, b) for a, b in zip(of_real, of_made, strict=True)
            )
        else:
            sums = [[sum(parts) / K for parts in zip(*g, strict=True)] for g in (of_real, of_made)]
            expected = compute_gradient_distance(*sums)
        assert loss.item() == pytest.approx(float(expected), rel=1e-4)


def test_sum_and_classes_differ_where_two_classes_are_exchanged():
    # g_0 and g_1 exchanged: each class is wrong by itself, and the sum is the same.
    a, b = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    class_wise = compute_gradient_distance([a], [b]) + compute_gradient_distance([b], [a])
    summed = compute_gradient_distance([(a + b) / 2], [(b + a) / 2])
    assert class_wise.item() == pytest.approx(2.0)
    assert summed.item() == pytest.approx(0.0, abs=1e-6)


def test_a_part_that_all_classes_share_hides_what_differs_in_classes_and_not_in_the_sum():
    # Opposite signals of two classes on a large shared part, as a common background gives; the
    # synthetic images have the shared part alone, and the sum of the real gradients is not it.
    shared, signal = torch.tensor([10.0, 0.0]), torch.tensor([0.0, 1.0])
    real = [(shared + signal)[None], (-shared + 2 * signal)[None]]
    made = [shared[None], -shared[None] + 1e-3]
    class_wise = sum(compute_gradient_distance([a], [b]) for a, b in zip(real, made, strict=True))
    summed = compute_gradient_distance([sum(real) / 2], [sum(made) / 2])
    assert class_wise < 0.03
    assert summed > 0.2


def test_with_one_image_set_that_equals_the_real_one_nothing_is_to_be_learned():
    pixels = make_pixels(2 * K)
    y = torch.arange(K).repeat_interleave(2)
    images = SyntheticImages(pixels, PixelScale.fit(pixels), K)
    for is_class_wise in (False, True):
        _, loss = compute_loss(is_class_wise, images, Batch(pixels, y))
        assert abs(loss.item()) < 1e-3


def test_the_network_is_drawn_anew_per_loop_and_trained_between(problem):
    images, batch = problem
    objective = make_objective(lambda _loop, _place: False)
    seen = []
    for index in range(5):
        step = make_step(index, generator=torch.Generator().manual_seed(index))
        with torch.no_grad():
            objective.before_step(images, step)
        seen.append(torch.cat([p.detach().flatten() for p in objective.student.parameters()]))
        objective(images, batch, step).backward()
        with torch.no_grad():
            objective.after_step(images, step)
    gaps = [float((a - b).abs().max()) for a, b in pairwise(seen)]
    assert all(0 < gap < 0.1 for gap in gaps[:3])  # trained a little
    assert gaps[3] > 0.1  # drawn anew
    assert all(p.grad is None for p in objective.student.parameters())


def test_the_warm_up_matches_classes_and_ends():
    method = DCC(outer=8, warmup=0.25, contrast_from=2)
    kinds = np.array([[method.is_class_wise(i, j) for j in range(3)] for i in range(8)])
    assert kinds[:2].tolist() == [[True, True, False]] * 2
    assert not kinds[2:].any()


def test_images_stay_between_black_and_white(problem):
    images, batch = problem
    with torch.no_grad():
        images.x.mul_(50)
        make_objective(lambda *_: False, network_updates=0).after_step(images, make_step())
    values = images.x * images.scale.std + images.scale.mean
    assert values.min() > -1e-5
    assert values.max() < 1 + 1e-5
    assert images.pixels.dtype == torch.uint8
    assert len(batch.y) == 5 * K
