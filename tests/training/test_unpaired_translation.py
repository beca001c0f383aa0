"""The translator's loss by hand, who is trained by which term, and what counts as an edge."""

import numpy as np
import pytest
import torch
from scipy.ndimage import sobel

from helpers.small_training import make_step
from ilk.architectures.image_translator import ImageTranslator
from ilk.training.batch import Batch
from ilk.training.objectives.unpaired_translation import UnpairedTranslation, find_edges
from ilk.training.optimizers import AdamW
from ilk.training.samplers import BalancedSampler
from ilk.training.sources import SampledSource
from ilk.training.trainer import Recipe, train

SHAPE = (1, 12, 12)


def make_run(edges=2.0):
    torch.manual_seed(0)
    translator, objective = ImageTranslator(SHAPE), UnpairedTranslation(edges)
    objective.setup(translator, None)
    batch = Batch(torch.rand(6, *SHAPE), torch.tensor([0, 1, 0, 0, 1, 1]))
    return translator, objective, batch


def make_noise():
    return torch.Generator().manual_seed(4)


def test_edges_are_the_sobel_gradient_over_its_mean():
    image = np.random.default_rng(0).random((9, 7))
    gradient = np.hypot(*(sobel(image, axis, mode="nearest") for axis in (0, 1)))
    ours = find_edges(torch.from_numpy(image)[None, None])[0, 0].numpy()
    np.testing.assert_allclose(ours, gradient / gradient.mean(), rtol=1e-3, atol=1e-3)


def test_darkening_keeps_edges_and_a_lamp_does_not():
    generator = torch.Generator().manual_seed(0)
    day = torch.rand(1, 1, 12, 12, generator=generator)
    torch.testing.assert_close(find_edges(0.3 * day), find_edges(day), atol=2e-2, rtol=2e-2)
    lamp = 0.3 * day
    lamp[..., 3:5, 3:5] = 3
    assert (find_edges(lamp) - find_edges(day)).abs().mean() > 0.3


def test_the_loss_by_hand():
    translator, objective, batch = make_run()
    d = objective.discriminator
    day, night = batch.x[batch.y == 0], batch.x[batch.y == 1]
    with torch.no_grad():
        made = translator(day, make_noise())
        terms = [
            ((d(made) - 1) ** 2).mean(),
            2.0 * (find_edges(day) - find_edges(made)).abs().mean(),
            ((d(night) - 1) ** 2).mean() / 2,
            (d(made) ** 2).mean() / 2,
        ]
    loss = objective(translator, batch, make_step(generator=make_noise()))
    assert float(loss.detach()) == pytest.approx(float(sum(terms)), rel=1e-5)


def test_the_generator_learns_from_the_first_line_and_the_discriminator_from_the_second():
    translator, objective, batch = make_run()
    d = objective.discriminator
    objective(translator, batch, make_step(generator=make_noise())).backward()
    ours = [p.grad.clone() for p in (*translator.parameters(), *d.parameters())]
    for p in (*translator.parameters(), *d.parameters()):
        p.grad = None
    day, night = batch.x[batch.y == 0], batch.x[batch.y == 1]
    made = translator(day, make_noise())
    edges = (find_edges(day) - find_edges(made)).abs().mean()
    first = ((d(made) - 1) ** 2).mean() + 2.0 * edges
    by_hand = list(torch.autograd.grad(first, list(translator.parameters())))
    fake = made.detach()
    second = ((d(night) - 1) ** 2).mean() / 2 + (d(fake) ** 2).mean() / 2
    by_hand += torch.autograd.grad(second, list(d.parameters()))
    for one, other in zip(ours, by_hand, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)


def test_a_batch_of_one_style_has_a_loss():
    translator, objective, batch = make_run()
    for label in (0, 1):
        rows = Batch(batch.x, torch.full((6,), label))
        assert torch.isfinite(objective(translator, rows, make_step()))


def test_translation_darkens_bright_images_and_repeats_with_its_noise():
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(80, *SHAPE, generator=generator) * 0.3 + 0.6
    x[40:] -= 0.5
    style = torch.arange(80) // 40
    torch.manual_seed(0)
    recipe = Recipe(60, 16, 5e-3, 5, optimizer=AdamW((0.5, 0.999)))
    rows = SampledSource(Batch(x, style), BalancedSampler(style))
    trained = train(ImageTranslator(SHAPE), rows, UnpairedTranslation(0.5), recipe)
    with torch.no_grad():
        made = trained(x[:40], make_noise())
        assert torch.equal(made, trained(x[:40], make_noise()))
    assert made.mean() < x[:40].mean() - 0.2
