"""Layers: learning rates that fall towards the image, and parts that are frozen."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from helpers.small_training import RECIPE, data, network, plain
from ilk.core.errors import InputError, UnknownName
from ilk.training.freezing import freeze, unfreeze
from ilk.training.layer_rates import list_layers, make_layer_groups
from ilk.training.optimizers import SGD
from ilk.training.schedules import Constant
from ilk.training.trainer import Batch, Recipe, train


class Transformer(nn.Module):
    """Parameters as those of a vision transformer: loose ones, blocks, a norm, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.zeros(1, 4, 8))
        self.patches = nn.Linear(6, 8)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 8)) for _ in range(3)
        )
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 2)


class Tower(nn.Module):
    """A network whose layers lie two parts deep, as in transformers' CLIP."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.ModuleDict({"encoder": Transformer()})
        self.projection = nn.Linear(2, 3)


def find_scales(net: nn.Module, decay: float) -> dict[str, float]:
    names = {id(p): name for name, p in net.named_parameters()}
    groups = make_layer_groups(net, decay)
    pairs = [(names[id(p)], g.scale) for g in groups for p in g.module.parameters()]
    assert len(pairs) == len(dict(pairs))  # in one group each
    return dict(pairs)


def test_each_layer_trains_with_a_fraction_of_the_rate_of_the_next() -> None:
    scales = find_scales(Transformer(), 0.5)
    assert scales.keys() == dict(Transformer().named_parameters()).keys()
    assert scales["head.weight"] == scales["head.bias"] == 1
    assert scales["blocks.2.1.weight"] == scales["norm.weight"] == 0.5
    assert scales["blocks.0.1.weight"] < scales["blocks.1.1.weight"] < scales["blocks.2.1.weight"]
    assert scales["position"] == scales["patches.weight"] == min(scales.values())


def test_layers_are_found_inside_a_wrapper() -> None:
    scales = find_scales(Tower(), 0.5)
    inner = [scales[f"body.encoder.blocks.{i}.1.weight"] for i in range(3)]
    assert sorted(set(inner)) == inner
    assert scales["projection.weight"] == 1


def test_real_networks_are_divided_in_order_of_depth() -> None:
    from ilk.hub.torchvision_ops import declare_missing_ops

    declare_missing_ops()

    timm = pytest.importorskip("timm")
    for name, first, last in (
        ("resnet10t", "conv1.0.weight", "fc.weight"),
        ("efficientnet_lite0", "conv_stem.weight", "classifier.weight"),
        ("test_vit", "patch_embed.proj.weight", "head.weight"),
    ):
        net = timm.create_model(name, pretrained=False, num_classes=3)
        assert len(list_layers(net)) >= 4
        scales = find_scales(net, 0.9)
        assert scales.keys() == dict(net.named_parameters()).keys()
        assert scales[first] == min(scales.values())
        assert scales[last] == 1


def test_tied_weights_are_in_one_layer() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    net[2].weight = net[0].weight
    assert find_scales(net, 0.1)["0.weight"] == pytest.approx(0.1)


def test_an_update_is_scaled_by_the_rate_of_its_layer() -> None:
    """Gradient descent by hand: an update moves each layer by its rate times its gradient."""
    recipe = Recipe(1, 20, 0.1, weight_decay=0.0, max_grad_norm=1e9, ema_width=0.0,
                    optimizer=SGD(0.0, nesterov=False), schedule=Constant())  # fmt: skip
    before = network()
    after = train(network(), data(), plain, replace(recipe, layer_decay=0.5))
    plain(before, data(), torch.Generator()).backward()
    rates = {"0": 0.025, "2": 0.05, "3": 0.1}
    moved = dict(after.named_parameters())
    for name, p in before.named_parameters():
        expected = p.detach() - rates[name[0]] * p.grad
        assert torch.allclose(moved[name], expected, atol=1e-7)


def test_layers_that_are_frozen_count_and_get_no_group() -> None:
    net = Transformer()
    freeze(net, ["head", "blocks.1"])
    groups = make_layer_groups(net, 0.5)
    assert [g.scale for g in groups] == [0.25, 1]
    freeze(net)
    assert len(make_layer_groups(net, 0.5)) == 1


@pytest.mark.parametrize("decay", [0.0, 1.1, float("nan")])
def test_a_decay_outside_its_range_is_refused(decay: float) -> None:
    with pytest.raises(InputError):
        make_layer_groups(network(), decay)
    with pytest.raises(InputError):
        Recipe(1, layer_decay=decay)


def make_net() -> nn.Module:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Linear(6, 20), nn.BatchNorm1d(20), nn.Dropout(0.5))
    top = nn.Sequential(nn.Linear(20, 20), nn.BatchNorm1d(20))
    return nn.Sequential(body, top, nn.Linear(20, 2))


def test_frozen_parts_keep_weights_and_statistics_through_a_run() -> None:
    net = make_net()
    freeze(net, ["1", "2.bias"])
    trained = train(net, data(), plain, replace(RECIPE, ema_width=0.0))
    before, after = make_net().state_dict(), trained.state_dict()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    changed.discard("1.0.bias")  # batch normalization takes it away again: no gradient but rounding
    statistics = {"1.1.running_mean", "1.1.running_var", "1.1.num_batches_tracked"}
    assert changed == {"1.0.weight", "1.1.weight", "1.1.bias", "2.bias"} | statistics


def test_frozen_parts_stay_in_evaluation_mode() -> None:
    net = make_net()
    freeze(net, ["1"])
    for module in (net, copy.deepcopy(net)):
        module.train()
        assert module.training
        assert module[1][1].training
        assert not any(part.training for part in module[0].modules())
        module[0][1].train()
        assert not module[0][1].training
        assert isinstance(module[0][1], nn.BatchNorm1d)
    x = data().x
    assert torch.equal(net[0](x), net[0](x))  # nothing is dropped
    unfreeze(net)
    net.train()
    assert all(part.training for part in net.modules())
    assert all(p.requires_grad for p in net.parameters())
    assert type(net[0][1]) is nn.BatchNorm1d


def test_freezing_again_replaces_the_choice() -> None:
    net = make_net()
    freeze(net, ["0"])
    freeze(net, ["2"])
    names = [name for name, p in net.named_parameters() if p.requires_grad]
    assert names == ["2.weight", "2.bias"]
    net.train()
    assert net[2].training
    assert not net[0].training
    assert net.state_dict().keys() == make_net().state_dict().keys()


def test_a_part_is_not_one_whose_name_begins_alike() -> None:
    net = nn.Sequential(*(nn.Linear(2, 2) for _ in range(11)))
    freeze(net, ["1"])
    assert [n for n, p in net.named_parameters() if p.requires_grad] == ["1.weight", "1.bias"]
    net.train()
    assert not net[10].training


def test_a_part_that_is_not_there_is_refused() -> None:
    with pytest.raises(UnknownName, match=r"'3'"):
        freeze(make_net(), ["3"])


def test_a_frozen_network_compiles_like_any_other() -> None:
    net = make_net()
    freeze(net, ["2"])
    rows = Batch(data().x, data().y)
    assert torch.equal(net.eval()(rows.x), make_net().eval()(rows.x))
