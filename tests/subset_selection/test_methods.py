"""What every condensation method owes, and the mathematics of herding and of matched means."""

import numpy as np
import pytest
import torch

from helpers.small_training import make_step
from ilk.architectures.instance_norm_net import InstanceNormNet
from ilk.core.errors import InputError
from ilk.maths.herding import herd
from ilk.subset_selection.condensation import list_condensation_methods
from ilk.subset_selection.condensation.distribution_matching import MeanMatching
from ilk.subset_selection.foundations.pixel_scale import PixelScale
from ilk.subset_selection.foundations.problem import Problem, Run
from ilk.subset_selection.foundations.siamese_augmentation import SiameseAugmentation
from ilk.subset_selection.foundations.synthetic_images import SyntheticImages
from ilk.training.batch import Batch

METHODS = list_condensation_methods()
QUICK = {
    "ClassGradientMatching": {"outer": 2, "inner": 2, "network_updates": 1, "batch": 2},
    "DCC": {"outer": 2, "inner": 2, "network_updates": 1, "batch": 2},
    "DistributionMatching": {"updates": 3, "batch": 2},
    "NRRDD": {"updates": 2, "training_updates": 3},
}
STILL = SiameseAugmentation(0.0, 0.0, 0.0)
K = 3
every = pytest.mark.parametrize("name", METHODS)


def make_problem(per_class=2, n=30, channels=1, seed=0):
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.integers(0, 256, (n, channels, 8, 8)).astype(np.uint8))
    features = (x.flatten(1).numpy() / 255).astype(np.float32)
    y = torch.arange(n) % K
    return Problem(x, y, K, per_class, features, seed, width=4)


def make(name, problem):
    return METHODS[name](**QUICK.get(name, {})).condense(problem, Run())


@every
@pytest.mark.parametrize("channels", [1, 3])
def test_every_class_gets_its_images(name, channels):
    problem = make_problem(channels=channels)
    few = make(name, problem)
    assert few.x.shape == (2 * K, channels, 8, 8)
    assert few.x.dtype == torch.uint8
    assert few.y.tolist() == [0, 0, 1, 1, 2, 2]
    assert problem.y[few.rows].tolist() == few.y.tolist()
    assert few.synthetic is METHODS[name].synthetic
    if not few.synthetic:
        assert torch.equal(few.x, problem.x[few.rows])
        assert len(set(few.rows.tolist())) == 2 * K


def test_dcc_that_never_ends_its_warm_up_is_class_wise_matching():
    problem, settings = make_problem(), QUICK["DCC"]
    class_wise = make("ClassGradientMatching", problem).x
    for warmup, is_same in ((1.0, True), (0.0, False)):
        method = METHODS["DCC"](**settings, warmup=warmup, contrast_from=2)
        assert torch.equal(method.condense(problem, Run()).x, class_wise) == is_same


@every
def test_the_seed_decides(name):
    first, again, other = (make(name, make_problem(seed=s)) for s in (0, 0, 1))
    assert torch.equal(first.x, again.x)
    if name not in ("Herding", "KCenter"):  # which draw nothing
        assert not torch.equal(first.x, other.x)


@every
def test_more_images_than_a_class_has(name):
    problem = make_problem(per_class=12)
    if METHODS[name].synthetic:
        assert len(make(name, problem).x) == 12 * K
        return
    with pytest.raises(InputError, match="a class has 10 training images, and 12 of each"):
        make(name, problem)


def test_problems_that_are_none():
    x, y = torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64)
    with pytest.raises(InputError, match="one class"):
        Problem(x, y, 1, 2, np.zeros((4, 1), np.float32))
    with pytest.raises(InputError, match="at least 1"):
        Problem(x, y, 2, 0, np.zeros((4, 1), np.float32))


def test_herding_by_the_definition():
    x = np.random.default_rng(1).normal(3.0, 1.0, (40, 5)).astype(np.float32)
    chosen = []
    for _ in range(8):
        gaps = [
            np.inf if i in chosen else np.linalg.norm(x.mean(0) - x[[*chosen, i]].mean(0))
            for i in range(len(x))
        ]
        chosen.append(int(np.argmin(gaps)))
    assert herd(x, 8).tolist() == chosen
    assert sorted(herd(x, 40).tolist()) == list(range(40))


def test_matched_means_by_hand():
    problem = make_problem(per_class=2)
    student = InstanceNormNet(1, (8, 8), K, width=4, depth=2, seed=3)
    objective = MeanMatching(student, STILL, 0)
    images = SyntheticImages(problem.x[: 2 * K], problem.scale, K)
    loss = objective(images, Batch(problem.x, problem.y), make_step())
    with torch.no_grad():
        real = student.forward_features(problem.scale.standardize(problem.x))
        made = student.forward_features(images.x)
        expected = sum(
            ((real[problem.y == c].mean(0) - made[images.y == c].mean(0)) ** 2).sum()
            for c in range(K)
        )
    assert loss.item() == pytest.approx(float(expected), rel=1e-4)  # m / 2 = 1
    loss.backward()
    assert all(p.grad is None for p in student.parameters())
    assert images.x.grad.abs().sum() > 0


def test_the_real_images_themselves_have_the_least_loss():
    pixels = make_problem().x[: 2 * K]
    images = SyntheticImages(pixels, PixelScale.fit(pixels), K)
    objective = MeanMatching(InstanceNormNet(1, (8, 8), K, width=4), SiameseAugmentation(), 0)
    y = torch.arange(K).repeat_interleave(2)
    assert objective(images, Batch(pixels, y), make_step()).item() < 1e-6


def test_pixels_come_back():
    x = make_problem(channels=3).x
    scale = PixelScale.fit(x)
    z = scale.standardize(x)
    assert torch.equal(scale.to_pixels(z), x)
    torch.testing.assert_close(z.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(z.std((0, 2, 3), correction=0), torch.ones(3))
    assert torch.equal(scale.to_pixels(scale.clamp(100 * z)), scale.to_pixels(100 * z))


def test_maps_of_the_augmentation():
    x = torch.arange(16.0).view(1, 1, 4, 4)
    identity = STILL.draw(1, torch.Generator().manual_seed(0))
    torch.testing.assert_close(STILL.apply(x, identity), x)
    mirrored = SiameseAugmentation(0.0, 0.0, 0.0, flip=True)
    drawn = mirrored.draw(50, torch.Generator().manual_seed(0))
    shown = mirrored.apply(x.expand(50, 1, 4, 4), drawn)
    is_mirrored = [torch.allclose(one, x[0].flip(2), atol=1e-4) for one in shown]
    is_same = [torch.allclose(one, x[0], atol=1e-4) for one in shown]
    assert sum(is_mirrored) + sum(is_same) == 50
    assert 10 < sum(is_mirrored) < 40


def test_a_rotation_of_the_augmentation_keeps_lengths_and_a_shift_is_a_part_of_the_side():
    generator = torch.Generator().manual_seed(0)
    turned = SiameseAugmentation(0.0, 40.0, 0.0).draw(20, generator)[:, :, :2]
    torch.testing.assert_close(turned @ turned.mT, torch.eye(2).expand(20, 2, 2))
    shifted = SiameseAugmentation(0.0, 0.0, 0.25).draw(500, generator)[:, :, 2]
    assert float(shifted.abs().max()) == pytest.approx(0.5, abs=0.02)  # a side is 2 long


def test_each_update_has_a_network_of_its_own():
    problem = make_problem()
    objective = MeanMatching(problem.make_network(0), STILL, 0)
    states = []
    for index in (0, 1, 0):
        objective.before_step(None, make_step(index))
        states.append(torch.cat([p.flatten() for p in objective.student.parameters()]))
    assert torch.equal(states[0], states[2])
    assert not torch.equal(states[0], states[1])


def test_images_are_mirrored_only_where_that_keeps_their_class():
    assert not make_problem().augmentation.flip
