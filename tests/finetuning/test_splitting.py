"""Networks divided in front of a block: both parts together are the network."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from helpers.tiny_checkpoints import declare_missing_ops, save_clip
from ilk.architectures.efficientnet_lite import EfficientNetLite0
from ilk.core.errors import InputError
from ilk.encoders import resolve_encoder
from ilk.encoders.clip import ClipCheckpoint
from ilk.finetuning.splitting import Splitter
from ilk.peft import get_state, parse_wrapper
from ilk.peft.parts import list_parts


def make_timm(name):
    declare_missing_ops()
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    return timm.create_model(name, num_classes=0).eval()


def check_split(network, size, n_trained, expected):
    network = network.eval()
    splitter = Splitter(network, torch.randn(2, 3, size, size))
    split = splitter.split(n_trained)
    assert split.n_trained == expected
    x = torch.randn(3, 3, size, size)  # another number of images than the probe
    with torch.no_grad():
        middle = split.frozen(x)
        assert middle.shape == (3, torch.tensor(split.shape).prod())
        got = split.late(middle.view(3, *split.shape))
        assert torch.allclose(got, network(x), rtol=1e-4, atol=1e-5)
    return split


@pytest.mark.parametrize("name", ["test_vit", "test_convnext", "test_efficientnet", "resnet18"])
@pytest.mark.parametrize("n_trained", [1, 3])
def test_the_two_parts_are_the_network(name, n_trained):
    check_split(make_timm(name), 160, n_trained, n_trained)


def test_blocks_of_the_embedded_network():
    torch.manual_seed(0)
    network = EfficientNetLite0()
    split = check_split(network, 64, 2, 2)
    assert split.describe() == "last 2 blocks of 16"
    names = [n for n, p in split.late.network.named_parameters() if p.requires_grad]
    assert all(n.startswith(("blocks.14.", "blocks.15.", "conv_head.", "bn1.")) for n in names)
    assert set(names) <= set(network.state_dict())
    assert len(names) == len(list(split.late.parameters()))  # nothing else is carried along


def test_copies_do_not_disturb_each_other():
    network = make_timm("test_vit")
    split = Splitter(network, torch.randn(2, 3, 160, 160)).split(1)
    other = copy.deepcopy(split.late)
    x = torch.randn(2, *split.shape)
    with torch.no_grad():
        before = split.late(x)
        for parameter in other.parameters():
            parameter.zero_()
        other(torch.randn(5, *split.shape))
        assert torch.equal(split.late(x), before)


class Detour(nn.Module):
    """A network whose last block also sees what its second one saw."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.c = (nn.Conv2d(i, 4, 3, padding=1) for i in (3, 4, 4))

    def forward(self, x):
        x = self.a(x).relu()
        return (self.c(self.b(x)) + x).mean((2, 3))


def test_a_path_around_a_block_moves_the_cut_forward():
    network = Detour()
    split = Splitter(network.eval(), torch.randn(2, 3, 8, 8)).split(1)
    assert split.n_trained == 3
    assert split.frozen is None


def test_a_layer_that_does_not_lead_to_the_features_is_not_trained():
    network = EfficientNetLite0().eval()
    split = Splitter(network, torch.randn(2, 3, 64, 64)).split(100)
    assert split.frozen is None
    assert not any(n.startswith("fc.") for n, _ in split.late.network.named_parameters())


class Spare(nn.Module):
    """A layer with a parameter that nothing reads."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)
        self.b.spare = nn.Parameter(torch.ones(3))

    def forward(self, x):
        return self.b(self.a(x).relu()).mean((2, 3))


def test_a_parameter_that_nothing_reads_is_not_trained():
    split = Splitter(Spare().eval(), torch.randn(2, 3, 8, 8)).split(1)
    names = [n for n, p in split.late.named_parameters() if p.requires_grad]
    assert names == ["network.b.weight", "network.b.bias"]
    assert all(p.grad is None for p in split.late.parameters())


def test_only_the_wrapper_trains():
    network = make_timm("test_vit")
    splitter = Splitter(network, torch.randn(2, 3, 160, 160))
    plain, wrapper = splitter.split(2), parse_wrapper("LoRA(rank=2)")
    wrapped = wrapper.apply(copy.deepcopy(network))
    split = splitter.split_wrapped(wrapped, plain, starts_exactly=True)
    names = {n for n, p in split.late.network.named_parameters() if p.requires_grad}
    assert names == set(get_state(split.late.network))
    assert all(n.startswith(("blocks.4.", "blocks.5.")) for n in names)
    x = torch.randn(2, *split.shape)
    with torch.no_grad():
        assert torch.equal(split.late(x), plain.late(x))


def test_a_wrapper_that_fits_none_of_the_blocks_is_refused():
    network = make_timm("test_vit")
    splitter = Splitter(network, torch.randn(2, 3, 160, 160))
    wrapper = parse_wrapper("LoRA(rank=2)")
    wrapped = copy.deepcopy(network).requires_grad_(False)
    first = wrapper.apply(wrapped)
    for path, part in list_parts(first):
        if not path.startswith("blocks.0."):
            part.detach(first, path)
    with pytest.raises(InputError, match="fits no layer of the last block"):
        splitter.split_wrapped(first, splitter.split(1), starts_exactly=True)


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_the_image_tower_is_divided_and_the_text_tower_left_out(tmp_path, kind):
    pytest.importorskip("transformers")
    network = ClipCheckpoint(save_clip(tmp_path / "c", kind)).build_network()
    split = check_split(network, 32, 1, 1)
    names = [n for n, p in split.late.network.named_parameters() if p.requires_grad]
    assert names
    assert not any("text" in name for name in names)
    assert sum(p.numel() for p in split.late.parameters()) < 0.5 * sum(
        p.numel() for p in network.parameters()
    )


def test_batch_normalization_keeps_its_statistics_while_the_rest_trains(tmp_path):
    """They are not written: a network whose statistics moved would not be the one in the folder."""
    from helpers.striped_images import write_network
    from ilk.core.linear_models import Linear
    from ilk.finetuning.base import open_splitter
    from ilk.finetuning.tunable import Tunable

    base = resolve_encoder(write_network(tmp_path / "n"))
    split = open_splitter(base).split(10**6)
    k, d = 2, base.space.dim
    head = Linear.from_arrays(np.zeros((k, d), np.float32), np.zeros(k, np.float32))
    network = Tunable(split.late, head, base.preprocess)
    before = {n: b.clone() for n, b in network.late.named_buffers() if "running" in n}
    assert before
    network.train()
    network(torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8))
    assert all(torch.equal(before[n], b) for n, b in network.late.named_buffers() if n in before)
    assert any(p.requires_grad for p in network.late.parameters())
