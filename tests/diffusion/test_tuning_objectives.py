"""The objectives of tuning against second derivations, limits and hand-made cases."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from ilk.core.errors import InputError, UnknownName
from ilk.diffusion.contrast.noised_batch import NoisedBatch
from ilk.diffusion.contrast.objective import TuningObjective
from ilk.diffusion.denoiser.karras import Denoiser
from ilk.diffusion.denoiser.noise_levels import LogNormal
from ilk.diffusion.networks.unet import UNet
from ilk.diffusion.pretraining.objective import DenoisingLoss
from ilk.diffusion.tuning.objectives import get_tuning_objective, list_tuning_objectives
from ilk.diffusion.tuning.objectives.cca import ConditionContrastiveAlignment
from ilk.diffusion.tuning.objectives.contrastive_flow_matching import ContrastiveFlowMatching
from ilk.diffusion.tuning.objectives.cross_entropy import ClassErrorCrossEntropy
from ilk.diffusion.tuning.objectives.ddo import DirectDiscriminativeOptimization
from ilk.training.batch import Batch
from ilk.training.objective import TrainingStep
from ilk.training.rng import make_generator

NOISE, K = LogNormal(-0.5, 0.6), 3


def make_denoiser(class_blocks: int | None = None) -> Denoiser:
    """A small denoiser whose weights are all random, so that classes differ."""
    torch.manual_seed(0)
    network = UNet(1, 4, K, width=8, levels=[1], class_blocks=class_blocks)
    for p in network.parameters():
        if not bool(p.any()):
            torch.nn.init.normal_(p, std=0.3)
    return Denoiser(network, (1, 4, 4), tuple("abc"), 0.6, (0.05, 5.0))


def make_batch(y: list[int]) -> Batch:
    x = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (len(y), 1, 4, 4)))
    return Batch(x.float(), torch.tensor(y))


def make_step(index: int = 0) -> TrainingStep:
    return TrainingStep(index, 10, make_generator(0, index, "cpu"))


def compute_loss(objective: TuningObjective, network: Denoiser, batch: Batch) -> float:
    return float(objective(network, batch, make_step()).detach())


def compute_class_error(network: Denoiser, noised: NoisedBatch, row: int, c: int) -> float:
    """The weighted mean squared error of one image under one class, from the definition."""
    sigma, s = float(noised.sigma[row]), network.sigma_data
    noisy = noised.clean[row] + sigma * noised.epsilon[row]
    with torch.no_grad():
        out = network.denoise(noisy[None], torch.tensor([sigma]), torch.tensor([c]))[0]
    error = float((out.double() - noised.clean[row].double()).square().mean())
    return error * (sigma**2 + s**2) / (sigma * s) ** 2


def draw_noised(network: Denoiser, batch: Batch) -> NoisedBatch:
    return NoisedBatch.draw(network, NOISE, batch.x, make_step().generator)


def test_each_objective_is_found_by_its_file():
    assert list(list_tuning_objectives()) == [
        "cca",
        "contrastive-flow-matching",
        "cross-entropy",
        "ddo",
    ]
    with pytest.raises(UnknownName, match="cross-entropy"):
        get_tuning_objective("crossentropy")


@pytest.mark.parametrize("class_blocks", [None, 1, 2])
def test_classes_compared_in_one_pass_give_what_one_pass_each_gives(class_blocks: int | None):
    network = make_denoiser(class_blocks)
    noised = draw_noised(network, make_batch([0, 1, 2, 1]))
    together = noised.compute_errors(network, torch.arange(K).expand(4, K))
    alone = [[compute_class_error(network, noised, i, c) for c in range(K)] for i in range(4)]
    np.testing.assert_allclose(together.detach(), alone, rtol=2e-5)
    assert together.std(1).min() > 1e-4  # the class matters


def test_only_the_last_blocks_see_the_class():
    network = make_denoiser(1).network
    assert isinstance(network, UNet)
    seen: dict[str, list[Tensor]] = {}
    for name in ("down.0", "up.0", "up.1"):
        network.get_submodule(name).register_forward_hook(
            lambda _m, _i, out, name=name: seen.setdefault(name, []).append(out)
        )
    x = torch.randn(1, 1, 4, 4)
    for c in (0, 1):
        network(x, torch.zeros(1), torch.tensor([c]))
    assert all(torch.equal(*seen[name]) for name in ("down.0", "up.0"))
    assert not torch.equal(*seen["up.1"])


@pytest.mark.parametrize("class_blocks", [None, 1])
def test_cross_entropy_is_that_of_a_softmax_of_minus_the_errors(class_blocks: int | None):
    network, batch = make_denoiser(class_blocks), make_batch([0, 2, 1, -1])
    objective = ClassErrorCrossEntropy(NOISE, anchor=0.3, temperature=0.07)
    loss = compute_loss(objective, network, batch)
    noised = draw_noised(network, batch)
    losses, anchors = [], []
    for i, y in enumerate(batch.y.tolist()):
        label = y if y >= 0 else K  # without a label, the null class
        anchors.append(compute_class_error(network, noised, i, label))
        if y >= 0:
            errors = np.array([compute_class_error(network, noised, i, c) for c in range(K)])
            p = np.exp(-errors / 0.07) / np.exp(-errors / 0.07).sum()
            losses.append(-math.log(p[y]))
    assert loss == pytest.approx(np.mean(losses) + 0.3 * np.mean(anchors), rel=1e-4)


@pytest.mark.parametrize("name", ["cross-entropy", "cca", "contrastive-flow-matching", "ddo"])
def test_the_anchor_is_the_loss_of_pretraining(name: str):
    network, batch = make_denoiser(), make_batch([0, 2, 1, -1, 0])
    losses = []
    for anchor in (0.0, 1.0):
        objective = get_tuning_objective(name)(NOISE, anchor)
        if name == "ddo":
            objective.pool, objective.sampling_steps = 4, 2
        objective.setup(network, batch)
        if name == "cca":
            objective.label_dropout = 0.0
        losses.append(compute_loss(objective, network, batch))
    pretraining = DenoisingLoss(network, NOISE, label_dropout=0.0)
    # Pretraining draws its label dropout between the levels and the noise: the same levels, and
    # other noise. So the error is computed from its definition, and that from pretraining's.
    noised = draw_noised(network, batch)
    label = [y if y >= 0 else K for y in batch.y.tolist()]
    expected = [compute_class_error(network, noised, i, c) for i, c in enumerate(label)]
    assert losses[1] - losses[0] == pytest.approx(np.mean(expected), rel=1e-4)
    noise_free = Batch(batch.x, batch.y)
    generator = make_step().generator
    sigma = NOISE.draw(5, generator)
    torch.rand(5, generator=generator)
    epsilon = torch.randn(batch.x.shape, generator=generator)
    same = NoisedBatch(batch.x, sigma, epsilon, network.compute_loss_weight(sigma))
    loss = float(pretraining(network, noise_free, make_step().generator).detach())
    assert loss == pytest.approx(
        float(same.compute_errors(network, torch.tensor(label)).mean().detach()), rel=1e-5
    )


def test_contrastive_flow_matching_without_contrast_is_its_anchor():
    network, batch = make_denoiser(), make_batch([0, 2, 1, 0])
    plain = ContrastiveFlowMatching(NOISE, negative_weight=0.0)
    noised = draw_noised(network, batch)
    errors = [compute_class_error(network, noised, i, int(c)) for i, c in enumerate(batch.y)]
    assert compute_loss(plain, network, batch) == pytest.approx(np.mean(errors), rel=1e-4)


def test_contrastive_flow_matching_pushes_from_the_target_of_another_class():
    network, batch = make_denoiser(), make_batch([0, 2, 2, -1])
    noised, s = draw_noised(network, batch), network.sigma_data
    pushed = 0.0
    for i, j in ((0, 3), (1, 0), (2, 1), (3, 2)):
        y, other = int(batch.y[i]), int(batch.y[j])
        if y < 0 or other < 0 or y == other:
            continue  # rows 0, 2 and 3
        sigma = float(noised.sigma[i])
        total = math.hypot(sigma, s)
        scaled = (noised.clean[i] + sigma * noised.epsilon[i]) / total
        with torch.no_grad():
            f = network.network(scaled[None], torch.tensor([math.log(sigma)]), batch.y[i : i + 1])
        target = (sigma / s * noised.clean[j] - s * noised.epsilon[j]) / total
        pushed += float((f[0] - target).square().mean()) / 4
    assert pushed > 0
    values = [
        compute_loss(ContrastiveFlowMatching(NOISE, 1.0, (), weight), network, batch)
        for weight in (0.0, 0.05)
    ]
    assert values[0] - values[1] == pytest.approx(0.05 * pushed, rel=1e-3)


def test_the_target_of_a_row_itself_gives_its_own_clean_image():
    from ilk.diffusion.tuning.objectives import contrastive_flow_matching as module

    network = make_denoiser()
    batch = make_batch([0, 0])
    batch = Batch(batch.x[:1].repeat(2, 1, 1, 1), batch.y)
    one = draw_noised(network, batch)
    same = NoisedBatch(one.clean, one.sigma, one.epsilon[:1].repeat(2, 1, 1, 1), one.weight)
    clean = module.compute_other_targets(network, same)
    torch.testing.assert_close(clean, batch.x, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("alpha", [0.5, 4.0])
def test_ddo_starts_at_one_plus_alpha_times_ln_2(alpha: float):
    network, batch = make_denoiser(), make_batch([0, 2, 1, 0])
    objective = DirectDiscriminativeOptimization(NOISE, alpha=alpha, pool=8, sampling_steps=2)
    objective.setup(network, batch)
    loss = compute_loss(objective, network, batch)
    assert loss == pytest.approx((1 + alpha) * math.log(2) / max(alpha, 1), rel=1e-6)


def test_ddo_rewards_real_images_and_punishes_drawn_ones():
    network, batch = make_denoiser(), make_batch([0, 2, 1, 0])
    objective = DirectDiscriminativeOptimization(NOISE, pool=4, sampling_steps=2, beta=1e-3)
    objective.setup(network, batch)
    assert objective.fake_x.dtype == torch.uint8
    moved = copy.deepcopy(network)
    with torch.no_grad():
        moved.network.proj_out.bias += 0.1
    loss = compute_loss(objective, moved, batch)
    step = make_step()
    noised = NoisedBatch.draw(network, NOISE, batch.x, step.generator)
    rows = torch.randint(4, (4,), generator=step.generator)
    fake = objective.fake_x[rows].float() / 127.5 - 1
    total = 0.0
    for images, labels, sign in ((batch.x, batch.y, 1), (fake, objective.fake_y[rows], -1)):
        part = NoisedBatch(images, noised.sigma, noised.epsilon, noised.weight)
        for i, c in enumerate(labels.tolist()):
            ratio = 16 * (
                compute_class_error(network, part, i, c) - compute_class_error(moved, part, i, c)
            )
            total += math.log1p(math.exp(-sign * 1e-3 * 3072 / 16 * ratio)) / 4
    assert loss == pytest.approx(total, rel=1e-5)


def test_cca_counts_equal_and_hidden_labels_as_pairs_that_fit():
    network, batch = make_denoiser(), make_batch([0, 2, 2, -1, 1])
    objective = ConditionContrastiveAlignment(
        NOISE, beta=0.01, negative_weight=3.0, label_dropout=0.0
    )
    objective.setup(network, batch)
    moved = copy.deepcopy(network)
    with torch.no_grad():
        moved.network.proj_out.bias += 0.2
    noised = draw_noised(network, batch)
    beta, total = 0.01 * 3072 / 16, 0.0

    def ratio(i: int, c: int) -> float:
        before = compute_class_error(network, noised, i, c)
        return 16 * (before - compute_class_error(moved, noised, i, c))

    def softplus(v: float) -> float:
        return math.log1p(math.exp(v))

    labels = [0, 2, 2, K, 1]
    for i, c in enumerate(labels):
        other = labels[i - 1]
        total += softplus(-beta * ratio(i, c))
        if other == c or K in (other, c):
            total += softplus(-beta * ratio(i, other))
        else:
            total += 3 * softplus(beta * ratio(i, other))
    loss = compute_loss(objective, moved, batch)
    assert loss == pytest.approx(total / 5 / 3, rel=1e-3)
    hidden = ConditionContrastiveAlignment(NOISE, beta=0.01, label_dropout=1.0)
    hidden.setup(network, batch)
    expected = np.mean([2 * softplus(-beta * r) for r in _compute_null(moved, network, batch)])
    assert compute_loss(hidden, moved, batch) == pytest.approx(expected, rel=1e-3)


def _compute_null(moved: Denoiser, network: Denoiser, batch: Batch) -> list[float]:
    """Ratios of the rows under the null class; hidden labels draw after the noise."""
    noised = draw_noised(network, batch)
    return [
        16 * (compute_class_error(network, noised, i, K) - compute_class_error(moved, noised, i, K))
        for i in range(len(batch))
    ]


def test_the_reference_does_not_move():
    network, batch = make_denoiser(), make_batch([0, 2, 1, 0])
    objective = ConditionContrastiveAlignment(NOISE)
    objective.setup(network, batch)
    objective.train()
    assert not objective.reference.training
    assert not objective.parameter_groups()
    objective(network, batch, make_step()).backward()
    assert all(p.grad is None for p in objective.reference.parameters())


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("cross-entropy", {"temperature": 0.0}),
        ("cross-entropy", {"anchor": -1.0}),
        ("cca", {"beta": 0.0}),
        ("contrastive-flow-matching", {"negative_weight": 1.0}),
        ("ddo", {"alpha": 0.0}),
    ],
)
def test_values_out_of_range_are_refused(name: str, options: dict[str, float]):
    with pytest.raises(InputError, match=r"must be (at least 0|above 0)"):
        get_tuning_objective(name)(NOISE, **options)
