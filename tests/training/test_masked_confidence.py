"""T-TAME's loss by hand, and what each of its terms does."""

import numpy as np
import pytest
import torch
from torch import nn

from helpers.small_training import make_step
from ilk.architectures.attention_maps import AttentionMaps, ExplainedNetwork
from ilk.core.errors import InputError
from ilk.training.batch import Batch
from ilk.training.objectives.masked_confidence import (
    MaskedConfidence,
    measure_area,
    measure_roughness,
)
from ilk.training.trainer import Recipe, train


class BrightHalf(nn.Module):
    """Logits are the total brightness of the left and of the right half; the tap is the image."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(1)

    def forward_taps(self, x):
        x = self.norm(x)
        half = x.shape[3] // 2
        return torch.stack([x[..., :half].sum((1, 2, 3)), x[..., half:].sum((1, 2, 3))], 1), [x]

    def forward(self, x):
        return self.forward_taps(x)[0]


def make_images(n=64, side=8):
    rng = np.random.default_rng(0)
    y = np.arange(n) % 2
    x = 0.3 * rng.random((n, 1, side, side)).astype(np.float32)
    for i, c in enumerate(y):
        x[i, 0, 2:6, 1 + 4 * c : 4 + 4 * c] += 5.0
    return Batch(torch.from_numpy(x), torch.from_numpy(y))


class Fixed(nn.Module):
    """Maps that are given."""

    def __init__(self, values):
        super().__init__()
        self.values = nn.Parameter(values)

    def forward(self, taps):
        return self.values


def test_area_and_roughness_of_two_cells_by_hand():
    maps = torch.tensor([[[[0.2, 0.6]]]])
    assert float(measure_area(maps, torch.ones(1))) == pytest.approx(
        (0.2005**0.3 + 0.6005**0.3) / 2
    )
    # Differences: 0.4^2 along the row. Borders: the row is the first and the last; two columns.
    border = 2 * (0.2**2 + 0.6**2) + 0.2**2 + 0.6**2
    assert float(measure_roughness(maps, torch.ones(1))) == pytest.approx(
        (0.4**2 + 0.3 * border) / 2
    )
    assert float(measure_roughness(maps.repeat(5, 1, 1, 1), torch.ones(1))) == pytest.approx(
        float(measure_roughness(maps, torch.ones(1)))
    )


@pytest.mark.parametrize("scope", ["random", "diagonal"])
def test_the_loss_of_given_maps_by_numpy(scope):
    rows = make_images(4)
    generator = torch.Generator().manual_seed(1)
    maps = torch.rand(4, 2, 8, 8, generator=generator)
    network = ExplainedNetwork(BrightHalf(), Fixed(maps))
    # Labels play no part: y is what the network says, here the brighter half.
    wrong = Batch(rows.x, 1 - rows.y)
    loss = float(MaskedConfidence(scope=scope)(network, wrong, make_step()).detach())

    a, x, y = maps.double().numpy(), rows.x.double().numpy(), rows.y.numpy()
    masked = x[:, 0] * a[np.arange(4), y] / np.sqrt(1 + 1e-5)
    z = np.stack([masked[..., :4].sum((1, 2)), masked[..., 4:].sum((1, 2))], 1)
    ce = np.mean(np.log(np.exp(z).sum(1)) - z[np.arange(4), y])
    pairs = [(i, j) for i in range(4) for j in range(4) if scope == "random" or i == j]
    counted = np.stack([a[i, y[j]] for i, j in pairs])
    area = np.mean((counted + 5e-4) ** 0.3)
    rough = (np.diff(counted, axis=1) ** 2).sum() + (np.diff(counted, axis=2) ** 2).sum()
    edges = (counted[:, 0], counted[:, -1], counted[:, :, 0], counted[:, :, -1])
    rough = (rough + 0.3 * sum((e**2).sum() for e in edges)) / (2 * 4)
    assert loss == pytest.approx(1.5 * ce + 2 * area + 0.01 * rough, rel=1e-5)


def fit_maps(objective):
    torch.manual_seed(0)
    rows = make_images()
    network = ExplainedNetwork(BrightHalf(), AttentionMaps([1], 2))
    before = {k: v.clone() for k, v in network.classifier.state_dict().items()}
    trained = train(network, rows, objective, Recipe(150, 32, 0.02, 10))
    for key, value in trained.classifier.state_dict().items():
        assert torch.equal(value, before[key]), "the classifier is frozen, batch statistics too"
    with torch.no_grad():
        _, maps = trained(rows.x)
    return maps[torch.arange(len(rows)), rows.y].numpy(), rows.x[:, 0].numpy() > 1


def test_trained_maps_lie_on_what_the_classifier_reads():
    maps, is_bright = fit_maps(MaskedConfidence())
    assert maps[is_bright].mean() > 2 * maps[~is_bright].mean()


def test_without_the_area_term_maps_are_not_small():
    small, _ = fit_maps(MaskedConfidence())
    large, _ = fit_maps(MaskedConfidence(area=0.0, smoothness=0.0))
    assert large.mean() > 2 * small.mean()


def test_random_scope_lowers_maps_of_absent_classes():
    rows = make_images(4)
    maps = torch.full((4, 2, 8, 8), 0.5)

    def reaches_other_class(scope):
        network = ExplainedNetwork(BrightHalf(), Fixed(maps.clone()))
        MaskedConfidence(scope=scope)(network, rows, make_step()).backward()
        return bool((network.maps.values.grad[torch.arange(4), 1 - rows.y] != 0).any())

    assert reaches_other_class("random")
    assert not reaches_other_class("diagonal")


def test_an_unknown_scope_is_refused():
    with pytest.raises(InputError, match="must be one of random and diagonal"):
        MaskedConfidence(scope="max")
